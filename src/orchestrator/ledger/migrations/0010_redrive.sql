-- A dead letter of a queue that is not ours may be retried: a worker of its type puts the message back there. Until it has, the
-- letter is `retrying`.
ALTER TABLE dead_letters
    DROP CONSTRAINT dead_letters_status_check,
    ADD CONSTRAINT dead_letters_status_check CHECK (status IN ('dead', 'retrying', 'retried', 'dropped'));
