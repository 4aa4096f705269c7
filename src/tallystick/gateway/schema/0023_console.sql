-- What people say when they ask about a payment (RULES §13): an amount, the end of a card's number, the shop's own order. Each is found
-- by an index of its own, among however many payments. None of these columns changes, so a payment's updates write to none of them.
CREATE INDEX payment_intent_amount ON payment_intent (account_id, livemode, currency, amount, id);
CREATE INDEX payment_intent_order ON payment_intent (account_id, livemode, (metadata->>'order_id'), id)
    WHERE metadata->>'order_id' IS NOT NULL;
CREATE INDEX payment_method_card ON payment_method (account_id, livemode, last4, brand, id);
CREATE INDEX charge_of_method ON charge (account_id, livemode, payment_method, id);
