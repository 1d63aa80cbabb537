-- A ledger of version 1 as that version made it, with runs of every kind in it.
CREATE SCHEMA importer;
CREATE TABLE importer.runs (
    id uuid PRIMARY KEY, key text NOT NULL,
    state text NOT NULL CHECK (state IN ('loading', 'published', 'failed', 'interrupted')),
    workbook text NOT NULL, sha256 text NOT NULL, sheet text NOT NULL,
    target_schema text NOT NULL, target_table text NOT NULL, target_oid oid,
    mode text NOT NULL, contract_sha256 text, plan jsonb NOT NULL, counts jsonb NOT NULL,
    staging text, shape text, xids text,
    role text NOT NULL DEFAULT current_user, client text NOT NULL, version text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz, error text);
CREATE UNIQUE INDEX runs_open ON importer.runs (key) WHERE state <> 'published';
CREATE INDEX runs_key ON importer.runs (key);
CREATE TABLE importer.chunks (
    run uuid NOT NULL REFERENCES importer.runs ON DELETE CASCADE, staging text NOT NULL, number int NOT NULL,
    first_row int NOT NULL, last_row int NOT NULL, rows bigint NOT NULL, checksum text NOT NULL,
    state text NOT NULL DEFAULT 'written' CHECK (state = 'written'),
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (staging, number));
CREATE INDEX chunks_run ON importer.chunks (run);
GRANT SELECT, INSERT, UPDATE, DELETE ON importer.runs, importer.chunks TO PUBLIC;
COMMENT ON TABLE importer.runs IS 'importer ledger, version 1';
INSERT INTO importer.runs VALUES (
    '00000000-0000-4000-8000-000000000001', repeat('a1', 32), 'published', 'old.xlsx', repeat('0', 64), 'Sheet',
    'public', 'old', NULL, 'append', NULL, '{"columns": [{"name": "id", "type": "bigint"}]}',
    '{"total_records": 3, "success_count": 2, "error_count": 1}', NULL, NULL, NULL, 'postgres', 'host pid 1', '0.1.0',
    '2026-11-01 10:00:00+00', '2026-11-01 10:00:05+00', NULL);
INSERT INTO importer.runs VALUES (
    '00000000-0000-4000-8000-000000000002', repeat('b2', 32), 'interrupted', 'dead.xlsx', repeat('1', 64), 'Sheet',
    'public', 'dead', NULL, 'append', NULL, '{"columns": []}', '{"total_records": 9}', 'stage_b2b2b2b2b2b2b2b2_00000000',
    repeat('c', 64), NULL, 'postgres', 'host pid 2', '0.1.0', '2026-11-02 10:00:00+00', '2026-11-02 10:00:01+00',
    'the server was stopped');
INSERT INTO importer.chunks VALUES (
    '00000000-0000-4000-8000-000000000002', 'stage_b2b2b2b2b2b2b2b2_00000000', 0, 2, 5, 4, repeat('d', 32), 'written',
    '2026-11-02 10:00:00.5+00');
