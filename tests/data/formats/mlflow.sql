CREATE TABLE experiments (experiment_id INTEGER, name TEXT);
CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INT, lifecycle_stage TEXT, experiment_id INTEGER);
CREATE TABLE metrics (key TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, is_nan BOOLEAN);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
INSERT INTO experiments VALUES (1, 'sweep');
INSERT INTO runs VALUES ('a', 'tiny', 'FINISHED', 1, 'active', 1), ('b', 'small', 'RUNNING', 2, 'active', 1),
  ('c', 'gone', 'FINISHED', 3, 'deleted', 1);
INSERT INTO metrics VALUES ('val_loss', 4.0, 1, 'a', 1, 0), ('val_loss', 3.0, 2, 'a', 2, 0),
  ('val_loss', 2.0, 2, 'b', 2, 0);
INSERT INTO params VALUES ('n_params', '1000', 'a'), ('n_params', '2000', 'b');
