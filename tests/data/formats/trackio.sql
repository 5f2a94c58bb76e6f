CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT);
CREATE TABLE configs (id INTEGER PRIMARY KEY, run_name TEXT, config TEXT, created_at TEXT);
INSERT INTO metrics VALUES (1, 't', 'tiny', 1, '{"val": {"loss": 4.0}}'), (2, 't', 'tiny', 2, '{"val": {"loss": 3.0}}'),
  (3, 't', 'small', 2, '{"val": {"loss": 2.0}}'), (4, 't', 'small', 3, '{"val":');
INSERT INTO configs VALUES (1, 'tiny', '{"n_params": 1000, "_Username": "me"}', 't'),
  (2, 'small', '{"n_params": 2000}', 't');
