"""From a shop's call to a page where its shopper can pay: order PENDING, then the gateway, then the way there."""
