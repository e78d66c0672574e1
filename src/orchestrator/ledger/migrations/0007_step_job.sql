-- Whose step a worker shows: that of the delivery it has held for longest, which `why` must not take for another job's.
ALTER TABLE workers ADD COLUMN step_job text NOT NULL DEFAULT '';
