-- Hand-outs are counted towards poison, except while a suspect waits to be run alone (`counted` is false then) and those that
-- their worker outlived, of which `outlived` says how many there were.
ALTER TABLE chunks ADD COLUMN counted boolean NOT NULL DEFAULT true, ADD COLUMN outlived int NOT NULL DEFAULT 0;

-- A dead letter of a queue that is not ours may be retried: a worker of its type puts the message back there. Until it has, the
-- letter is `retrying`.
ALTER TABLE dead_letters
    DROP CONSTRAINT dead_letters_status_check,
    ADD CONSTRAINT dead_letters_status_check CHECK (status IN ('dead', 'retrying', 'retried', 'dropped'));
