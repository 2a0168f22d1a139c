import { Schemas, type FileDescriptor } from '../../lib/emulator/proto/schema.js'

type MessageDescriptor = NonNullable<FileDescriptor['messageType']>[number]
type FieldDescriptor = NonNullable<MessageDescriptor['field']>[number]

export function field (name: string, number: number, type: string, more: Partial<FieldDescriptor> = {}): FieldDescriptor {
  return { name, number, label: 'LABEL_OPTIONAL', type: `TYPE_${type}`, ...more }
}

const list = { label: 'LABEL_REPEATED' }
const typed = (typeName: string): { typeName: string } => ({ typeName })

/** Has a field of every kind. */
const order: MessageDescriptor = {
  name: 'Order',
  oneofDecl: [{ name: '_note' }, { name: 'payment' }],
  field: [
    field('orderId', 1, 'STRING'),
    field('count', 2, 'INT32'),
    field('total', 3, 'INT64'),
    field('price', 4, 'DOUBLE'),
    field('paid', 5, 'BOOL'),
    field('photo', 6, 'BYTES'),
    field('size', 7, 'ENUM', typed('Size')),
    field('note', 8, 'STRING', { oneofIndex: 0 }),
    field('counts', 9, 'INT32', list),
    field('lines', 10, 'MESSAGE', { ...list, ...typed('Line') }),
    field('first', 11, 'MESSAGE', typed('Line')),
    field('labels', 12, 'MESSAGE', { ...list, ...typed('LabelsEntry') }),
    field('card', 13, 'STRING', { oneofIndex: 1 }),
    field('invoice', 14, 'STRING', { oneofIndex: 1 }),
    field('placedAt', 15, 'MESSAGE', typed('google.protobuf.Timestamp')),
    field('wait', 16, 'MESSAGE', typed('.google.protobuf.Duration')),
    field('mask', 17, 'MESSAGE', typed('google.protobuf.FieldMask')),
    field('extra', 18, 'MESSAGE', typed('google.protobuf.Any'))
  ],
  nestedType: [
    { name: 'Line', field: [field('item', 1, 'STRING'), field('parent', 2, 'MESSAGE', typed('Order')), field('at', 3, 'MESSAGE', typed('google.protobuf.Timestamp'))] },
    { name: 'LabelsEntry', options: { mapEntry: true }, field: [field('key', 1, 'STRING'), field('value', 2, 'STRING')] }
  ]
}

export const files: FileDescriptor[] = [
  {
    package: 'google.protobuf',
    messageType: [
      ...['Timestamp', 'Duration'].map(name => ({ name, field: [field('seconds', 1, 'INT64'), field('nanos', 2, 'INT32')] })),
      { name: 'FieldMask', field: [field('paths', 1, 'STRING', list)] },
      { name: 'Any', field: [field('typeUrl', 1, 'STRING'), field('value', 2, 'BYTES')] }
    ]
  },
  {
    package: 'shop.v1',
    messageType: [order, { name: 'GetOrderRequest', field: [field('name', 1, 'STRING')] }],
    enumType: [{ name: 'Size', value: [{ name: 'SIZE_UNSPECIFIED' }, { name: 'SMALL', number: 1 }, { name: 'LARGE', number: 2 }] }],
    service: [{ name: 'Shop', method: [{ name: 'GetOrder', inputType: 'GetOrderRequest', outputType: '.shop.v1.Order' }] }]
  }
]

/** Schemas of a small shop, for what does not depend on Google's messages. */
export const schemas = new Schemas(files)
