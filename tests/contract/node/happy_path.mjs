// The official `stripe` package for Node against a gateway: only host, port and protocol are changed (DESIGN §5).
// Says what it saw in one line of JSON; anything else than the expected ends it with an error.

import assert from 'node:assert/strict';
import Stripe from 'stripe';

const address = new URL(process.env.TALLYSTICK_GATEWAY_URL);
const stripe = new Stripe(process.env.TALLYSTICK_SECRET_KEY, {
  host: address.hostname,
  port: address.port,
  protocol: address.protocol.replace(':', ''),
  maxNetworkRetries: 0,
  telemetry: false,
});

const created = await stripe.paymentIntents.create(
  { amount: 2000, currency: 'eur', metadata: { order: '17' }, automatic_payment_methods: { enabled: true } },
  { idempotencyKey: 'node-create' },
);
assert.equal(created.status, 'requires_payment_method');

const replayed = await stripe.paymentIntents.create(
  { amount: 2000, currency: 'eur', metadata: { order: '17' }, automatic_payment_methods: { enabled: true } },
  { idempotencyKey: 'node-create' },
);
assert.equal(replayed.id, created.id);
await assert.rejects(
  stripe.paymentIntents.create({ amount: 2001, currency: 'eur' }, { idempotencyKey: 'node-create' }),
  { type: 'StripeIdempotencyError' },
);

const updated = await stripe.paymentIntents.update(created.id, { metadata: { order: '18', note: 'x' } });
assert.deepEqual(updated.metadata, { order: '18', note: 'x' });

const paid = await stripe.paymentIntents.confirm(created.id, {
  payment_method: 'pm_card_visa',
  return_url: 'https://shop.example/back',
  expand: ['latest_charge'],
});
assert.equal(paid.status, 'succeeded');
assert.equal(paid.latest_charge.payment_method_details.card.last4, '4242');

const declined = await stripe.paymentIntents.create({ amount: 700, currency: 'eur' });
await assert.rejects(
  stripe.paymentIntents.confirm(declined.id, { payment_method: 'pm_card_chargeDeclined' }),
  { type: 'StripeCardError', code: 'card_declined' },
);

const held = await stripe.paymentIntents.create({
  amount: 900,
  currency: 'eur',
  capture_method: 'manual',
  payment_method: 'pm_card_visa',
  confirm: true,
});
assert.equal(held.status, 'requires_capture');
assert.equal((await stripe.paymentIntents.capture(held.id, { amount_to_capture: 800 })).amount_received, 800);
assert.equal((await stripe.paymentIntents.cancel(declined.id)).status, 'canceled');

const refund = await stripe.refunds.create({ payment_intent: held.id, amount: 300, reason: 'duplicate' });
assert.deepEqual([refund.status, refund.amount, refund.currency], ['succeeded', 300, held.currency]);
assert.equal((await stripe.refunds.create({ charge: refund.charge })).amount, 500);
await assert.rejects(stripe.refunds.create({ payment_intent: held.id }), { code: 'charge_already_refunded' });
assert.equal((await stripe.charges.retrieve(refund.charge)).refunded, true);
assert.equal((await stripe.refunds.list({ payment_intent: held.id })).data.length, 2);
assert.equal((await stripe.refunds.retrieve(refund.id, { expand: ['charge'] })).charge.object, 'charge');

const ids = [];
for await (const intent of stripe.paymentIntents.list({ limit: 2 })) ids.push(intent.id);
assert.deepEqual(ids, [held.id, declined.id, created.id]);

const session = await stripe.checkout.sessions.create({
  mode: 'payment',
  line_items: [
    { price_data: { currency: 'eur', unit_amount: 500, product_data: { name: 'Tea' } }, quantity: 3 },
    { price_data: { currency: 'eur', unit_amount: 250, product_data: { name: 'Honey' } }, quantity: 1 },
  ],
  success_url: 'https://shop.example/thanks?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/basket',
});
assert.equal(session.amount_total, 1750);
assert.ok(session.url.startsWith(address.origin));
const items = await stripe.checkout.sessions.listLineItems(session.id);
assert.deepEqual(items.data.map((item) => item.description), ['Tea', 'Honey']);
assert.equal((await stripe.checkout.sessions.expire(session.id)).status, 'expired');

const endpoint = await stripe.webhookEndpoints.create({
  url: process.env.TALLYSTICK_WEBHOOK_URL,
  enabled_events: ['payment_intent.succeeded'],
});
assert.ok(endpoint.secret.startsWith('whsec_'));
assert.ok((await stripe.webhookEndpoints.del(endpoint.id)).deleted);

const events = await stripe.events.list({ type: 'payment_intent.succeeded' });
assert.deepEqual(new Set(events.data.map((event) => event.data.object.id)), new Set([created.id, held.id]));

await assert.rejects(stripe.paymentIntents.retrieve('pi_none'), { type: 'StripeInvalidRequestError', statusCode: 404 });
await assert.rejects(new Stripe('sk_test_0123456789abcdefghijklmn', {
  host: address.hostname,
  port: address.port,
  protocol: address.protocol.replace(':', ''),
}).paymentIntents.list(), { type: 'StripeAuthenticationError' });

console.log(JSON.stringify({ intents: ids.length, paid: paid.id }));
