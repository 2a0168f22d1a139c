import t from 'tap'
import { emulatorConfig } from '../../../lib/emulator/options.js'
import { CmekConfigs } from '../../../lib/emulator/service/cmek-configs.js'
import { checkLocation, checkPage, checkParent, readView } from '../../../lib/emulator/service/request-checks.js'
import { Service } from '../../../lib/emulator/service/service.js'
import { parent, queue, startEngine } from '../../support/engine-harness.js'

const url = 'https://example.com/work'
const INVALID = 'INVALID_ARGUMENT'

async function serve () {
  const { engine, clock } = await startEngine({ started: false })
  return { service: new Service(engine, emulatorConfig({ clock })), clock }
}

t.test('locations are listed in pages and by filters, and a token belongs to its query', async t => {
  const { service, clock } = await serve()
  for (const id of ['c', 'a', 'b']) {
    await service.createQueue({ parent: `projects/p/locations/${id}`, queue: { name: `projects/p/locations/${id}/queues/q` } })
  }
  const name = 'projects/p'
  const list = (fields: object = {}) => {
    const { locations, nextPageToken } = service.listLocations({ name, ...fields })
    return { ids: locations.map(({ locationId }) => locationId).join(''), pageToken: nextPageToken }
  }
  t.strictSame(list(), { ids: 'abcl', pageToken: undefined })
  t.strictSame(list({ pageSize: 4 }), { ids: 'abcl', pageToken: undefined })
  const first = list({ pageSize: 3 })
  t.equal(first.ids, 'abc')
  t.strictSame(list({ pageSize: 3, pageToken: first.pageToken }), { ids: 'l', pageToken: undefined })
  t.equal(list({ matches: (one: object) => (one as { locationId: string }).locationId > 'a' }).ids, 'bcl')
  const filtered = list({ pageSize: 1, filter: 'f', matches: () => true })
  t.equal(list({ filter: 'f', pageToken: filtered.pageToken }).ids, 'bcl')
  t.throws(() => list({ pageToken: filtered.pageToken }), { code: INVALID })
  t.throws(() => list({ name: 'projects/p2', filter: 'f', pageToken: filtered.pageToken }), { code: INVALID })
  clock.set(clock.now() + 2 * 3600_000)
  t.throws(() => list({ filter: 'f', pageToken: filtered.pageToken }), { code: INVALID })
  for (const fields of [{ pageSize: -1 }, { name: 'projects' }, { name: 'project/p' }, { name: 'projects/p/x' }, { name: 'projects/a b' }, { name: '' }]) {
    t.throws(() => list(fields), { code: INVALID }, JSON.stringify(fields))
  }
  t.strictSame(service.getLocation({ name: 'projects/p/locations/z' }), {
    name: 'projects/p/locations/z',
    locationId: 'z',
    displayName: 'z',
    labels: { 'cloud.googleapis.com/region': 'z' }
  })
  for (const bad of ['projects/p/locations/-', 'projects/p', '']) t.throws(() => service.getLocation({ name: bad }), { code: INVALID }, bad)
  t.strictSame(service.getApplication({ name: 'none' }), {
    name: 'apps/none',
    id: 'none',
    locationId: 'us-central1',
    servingStatus: 'SERVING'
  })
  t.throws(() => service.getApplication({ name: 'a b' }), { code: INVALID })
})

t.test('a policy is replaced by one with the etag that was read or with none, and gets an etag of its own', async t => {
  const { service } = await serve()
  const set = async (policy: object, updateMask: string[][] = []) => await service.setIamPolicy({ resource: queue, policy, updateMask })
  const text = (etag: Uint8Array | undefined) => Buffer.from(etag!).toString('base64')
  const before = service.getIamPolicy({ resource: queue })
  t.strictSame([Object.keys(before), text(before.etag)], [['etag'], 'ACAB'])
  const first = await set({ version: 1, etag: before.etag })
  t.match(text(first.etag), /^[\w+/]{8}$/)
  t.strictSame(service.getIamPolicy({ resource: queue }), first)
  for (const etag of [before.etag, Buffer.from('x')]) await t.rejects(set({ version: 2, etag }), { code: 'ABORTED' })
  t.strictSame(service.getIamPolicy({ resource: queue }), first)
  const second = await set({ version: 2, bindings: [{ role: 'r' }], etag: Buffer.alloc(0) })
  t.not(text(second.etag), text(first.etag))
  const third = await set({ version: 3, etag: second.etag }, [['bindings']])
  t.strictSame({ ...third, etag: text(third.etag) }, { version: 2, etag: text(third.etag) }, 'a mask names what changes')
  for (const [permission, valid] of [
    ['cloudtasks.tasks.create', true], ['a.b', true], ['A1.b2', true],
    ['a', false], ['a.', false], ['.a', false], ['a..b', false], ['a.*', false], ['*', false], ['a.b ', false], ['', false]
  ] as const) {
    const permissions = ['a.b', permission]
    const test = () => service.testIamPermissions({ resource: queue, permissions }).permissions
    if (valid) t.strictSame(test(), permissions)
    else t.throws(test, { code: INVALID }, permission)
  }
  t.strictSame(service.testIamPermissions({ resource: `${queue}2`, permissions: ['a.b'] }).permissions, [])
})

t.test("a location's key has the format of Cloud KMS, and is removed by an empty one", async t => {
  const configs = new CmekConfigs()
  const name = `${parent}/cmekConfig`
  const kmsKey = 'projects/p/locations/l/keyRings/r/cryptoKeys/k'
  t.strictSame(configs.get(name), { name })
  t.strictSame(configs.update({ name, kmsKey }, []), { name, kmsKey })
  t.strictSame(configs.get('projects/p/locations/l2/cmekConfig'), { name: 'projects/p/locations/l2/cmekConfig' })
  for (const bad of [`${kmsKey}/x`, `x${kmsKey}`, 'projects/p/locations/l/keyRings/r', kmsKey.replace('/p/', '//')]) {
    t.throws(() => configs.update({ name, kmsKey: bad }, []), { code: INVALID }, bad)
  }
  t.strictSame(configs.get(name), { name, kmsKey })
  t.strictSame(configs.update({ name }, [['name']]), { name, kmsKey }, 'a mask without it')
  t.strictSame(configs.update({ name }, []), { name })
  for (const bad of ['', parent, `${parent}/cmekConfigs`, `${parent}/x/cmekConfig`, 'x/cmekConfig', 'projects/p/locations/-/cmekConfig']) {
    t.throws(() => configs.get(bad), { code: INVALID }, bad)
    t.throws(() => configs.update({ name: bad, kmsKey }, []), { code: INVALID }, bad)
  }
})

t.test('a request is checked for a parent, a location, a page and a view that exist', async t => {
  checkParent(parent)
  for (const bad of ['', 'projects/p', `${parent}/queues`, 'projects/p/locations/-']) t.throws(() => { checkParent(bad) }, { code: INVALID }, bad)
  for (const name of ['', 'x', `${parent}/queues/-`, 'projects/-/locations/l/queues/q', 'projects/p/locations/-x/queues/q']) checkLocation(name)
  for (const bad of ['projects/p/locations/-/queues/q', 'projects/p/locations/-/']) t.throws(() => { checkLocation(bad) }, { code: INVALID }, bad)
  t.strictSame(checkPage({}), {})
  t.strictSame(checkPage({ pageSize: 0, pageToken: '' }), { pageSize: 0, pageToken: '' })
  t.throws(() => checkPage({ pageSize: -1 }), { code: INVALID })
  t.strictSame([undefined, 'VIEW_UNSPECIFIED', 'BASIC', 'FULL'].map(readView), ['BASIC', 'BASIC', 'BASIC', 'FULL'])
  for (const bad of [77, 'basic', '']) t.throws(() => readView(bad), { code: INVALID, message: /responseView/ }, String(bad))
})

t.test('every method that names a resource rejects the location of all locations', async t => {
  const { service } = await serve()
  const name = 'projects/p/locations/-/queues/q'
  for (const call of [
    () => service.getQueue({ name }),
    () => service.updateQueue({ queue: { name } }),
    () => service.deleteQueue({ name }),
    () => service.purgeQueue({ name }),
    () => service.pauseQueue({ name }),
    () => service.resumeQueue({ name }),
    () => service.getIamPolicy({ resource: name }),
    () => service.setIamPolicy({ resource: name }),
    () => service.testIamPermissions({ resource: name }),
    () => service.listTasks({ parent: name }),
    () => service.createTask({ parent: name, task: { httpRequest: { url } } }),
    () => service.getTask({ name: `${name}/tasks/t` }),
    () => service.deleteTask({ name: `${name}/tasks/t` }),
    () => service.runTask({ name: `${name}/tasks/t` }),
    () => service.bufferTask({ queue: name }),
    () => service.bufferTask({ name: `${name}/tasks/t` }),
    () => service.batchCreateTasks({ parent: name, requests: [{}] })
  ]) await t.rejects(async () => await call(), { code: INVALID, message: "Location '-' is not a valid location. Use ListLocations to list valid locations." }, String(call))
})
