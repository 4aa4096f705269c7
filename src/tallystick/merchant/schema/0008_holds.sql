-- Goods that reconciliation holds leave again when two people say so (RULES §11).

ALTER TABLE case_proposal DROP CONSTRAINT case_proposal_action_check;
ALTER TABLE case_proposal ADD CONSTRAINT case_proposal_action_check CHECK (action IN (
    'close',                    -- nothing is to be done, or it was done by hand
    'merge',                    -- retrieve the payment, and merge what the gateway answers
    'lift'));                   -- the goods that the case holds may leave
