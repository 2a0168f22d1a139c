import { createContextKey, INVALID_SPAN_CONTEXT, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import t from 'tap'
import { withSpan } from '../../lib/otel/active-context.js'

t.test('a context with a span answers as one that the API made', t => {
  const span = trace.wrapSpanContext({ ...INVALID_SPAN_CONTEXT, traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) })
  const other = trace.wrapSpanContext(INVALID_SPAN_CONTEXT)
  const key = createContextKey('mine')
  const outer = propagation.setBaggage(trace.setSpan(ROOT_CONTEXT.setValue(key, 1), other), propagation.createBaggage())
  for (const made of [withSpan(outer, span), trace.setSpan(outer, span)]) {
    t.equal(trace.getSpan(made), span)
    t.equal(made.getValue(key), 1)
    t.ok(propagation.getBaggage(made))
    t.equal(trace.getSpan(made.setValue(key, 2)), span)
    t.equal(made.setValue(key, 2).getValue(key), 2)
    t.equal(trace.getSpan(trace.setSpan(made, other)), other)
    t.equal(trace.getSpan(trace.deleteSpan(made)), undefined)
    t.equal(made.deleteValue(key).getValue(key), undefined)
  }
  t.not(withSpan(outer, span).constructor, trace.setSpan(outer, span).constructor, 'it is not made by the API')
  t.end()
})
