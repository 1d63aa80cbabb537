-- The PL/pgSQL that `insert_bisect.py` sends, in fragments. A line `-- fragment: NAME` begins a fragment; the other
-- comment lines are not sent. `{name}` stands for another fragment or for a value that `insert_bisect.py` gives, in
-- which names and texts are quoted already.
--
-- The function takes (bigint, bigint, bigint[]): `$1` to `$2` is the current batch of sheet rows; `$3` holds the rows
-- that refer to rows not loaded yet (foreign keys to the table itself). Columns take precedence over variables of the
-- same name, so variables begin with `importer_` and parameters are referred to by number only.
-- The function searches names in `pg_catalog` alone. Between `target_path` and `own_path` the user's search path is set,
-- for triggers, defaults and domains of the target; whatever our statements call there is qualified. An error restores it.
-- It returns a JSON array a refused row, then the counts of new, changed and unchanged rows.

-- fragment: body
#variable_conflict use_column
DECLARE
  importer_last bigint := $2;
  importer_size bigint;
  importer_count bigint; importer_forced bigint; importer_row bigint;
  importer_new bigint := 0; importer_changed bigint := 0; importer_same bigint := 0;
  importer_news bigint := 0; importer_changes bigint := 0; importer_sames bigint := 0; importer_taken bigint := 0;
  importer_refusals bigint := 0;
  importer_state text; importer_text text; importer_schema text; importer_table text; importer_constraint text;
  importer_column text; importer_answer text;
  importer_waiting bigint[] := '{}'; importer_answers text[] := '{}';
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  -- Each pass tries one batch under a savepoint: the first pass all rows, later ones batches in sheet order. After an
  -- accepted batch the next one is twice as large. A refused batch is halved and tried again, until one row is left.
  WHILE $1 <= importer_last LOOP
    BEGIN
      {attempt}
      {add_counts}
      importer_size := least(importer_size * 2, {largest});
      $1 := $2 + 1;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
      {diagnose}
      -- The size is null as long as no batch was refused; only then do batches need the index on the row number.
      IF importer_size IS NULL THEN
        CREATE INDEX ON {staging} ({number});
        ANALYZE {staging} ({number});
        SELECT min({number}), max({number}) INTO $1, importer_last FROM {staging};
        importer_size := {first};
      ELSIF $1 < $2 THEN
        importer_size := greatest(($2 - $1 + 1) / 2, 1);
      ELSE
        {answer}
        -- 23503, foreign key: the row that this one refers to may come later in the sheet.
        IF {waits} AND importer_state = '23503' THEN
          importer_waiting := importer_waiting || $1;
          importer_answers := importer_answers || importer_answer;
        ELSE
          importer_refusals := importer_refusals + 1;
          RETURN NEXT importer_answer;
        END IF;
        $1 := $1 + 1;
      END IF;
    END;
    $2 := least($1 + importer_size - 1, importer_last);
  END LOOP;
  {retry_waiting}
  RETURN NEXT jsonb_build_array(importer_news, importer_changes, importer_sames)::text;
END

-- fragment: retry_waiting
  -- Each pass tries the waiting rows all together, for rows that refer to each other, and ends the loop if they are
  -- accepted. Otherwise the inner loop tries them one by one. The loop also ends when a pass has loaded none of them.
  WHILE cardinality(importer_waiting) > 0 LOOP
    $3 := importer_waiting; importer_waiting := '{}'; importer_answers := '{}';
    BEGIN
      {attempt_waiting}
      {add_counts}
      EXIT;
    EXCEPTION WHEN OTHERS OR assert_failure THEN
      {diagnose}
    END;
    -- Tries one row a pass. A refused one is put before the others, so that the order alternates from pass to pass.
    FOREACH importer_row IN ARRAY $3 LOOP
      $1 := importer_row; $2 := importer_row;
      BEGIN
        {attempt}
        {add_counts}
      EXCEPTION WHEN OTHERS OR assert_failure THEN
        {diagnose}
        {answer}
        importer_waiting := importer_row || importer_waiting;
        importer_answers := importer_answer || importer_answers;
      END;
    END LOOP;
    IF cardinality(importer_waiting) = cardinality($3) THEN
      -- Returns the answers of the rows that are refused for good.
      FOREACH importer_answer IN ARRAY importer_answers LOOP RETURN NEXT importer_answer; END LOOP;
      EXIT;
    END IF;
  END LOOP;

-- fragment: add_counts
      importer_taken := importer_taken + importer_new + importer_changed + importer_same;
      importer_news := importer_news + importer_new;
      importer_changes := importer_changes + importer_changed;
      importer_sames := importer_sames + importer_same;

-- Raises the error again if no row is the cause: of its class, or of a class that rows seldom cause when many are
-- refused and none was accepted. 55P03 is a lock that is not available.
-- fragment: diagnose
      GET STACKED DIAGNOSTICS importer_state = RETURNED_SQLSTATE, importer_text = MESSAGE_TEXT,
        importer_schema = SCHEMA_NAME, importer_table = TABLE_NAME, importer_constraint = CONSTRAINT_NAME,
        importer_column = COLUMN_NAME;
      IF importer_state = '22P02' AND strpos(importer_text, '{key_taken}') > 0 THEN
        importer_state := '{key_repeated}';
        importer_text := 'to the database its key equals that of another row of the sheet';
      END IF;
      IF left(importer_state, 2) IN ({never}) OR importer_state = '55P03' OR left(importer_state, 2) IN ({rarely})
        AND ({hopeless} = 0 OR importer_taken = 0 AND importer_refusals >= {hopeless}) THEN RAISE; END IF;

-- fragment: answer
          {probes}
          importer_answer := jsonb_build_array($1, importer_state, importer_text, importer_schema, importer_table,
            importer_constraint, importer_column)::text;

-- Finds out whether a cast is what failed in row `$1`.
-- fragment: probe
          IF importer_column = '' AND importer_table = '' THEN
            BEGIN
              {target_path}
              PERFORM {expression} FROM {staging} WHERE {number} OPERATOR(pg_catalog.=) $1;
              {own_path}
            EXCEPTION WHEN OTHERS THEN importer_column := {column};
            END;
          END IF;

-- Tries some rows and counts those inserted; all of them, unless a trigger or rule leaves rows out.
-- fragment: insert
      {target_path}
      {statement}; GET DIAGNOSTICS importer_new = ROW_COUNT;
      {own_path} {check}

-- fragment: check_inserted
      {count} IF importer_new <> importer_count THEN {lost} END IF;

-- Tries some rows and counts those inserted, updated and unchanged.
-- fragment: upsert
      {target_path}
      IF importer_size IS NULL THEN {first_upsert} ELSE {later_upsert} END IF;
      {own_path}
      {count} importer_same := importer_count - importer_new - importer_changed; {check}

-- fragment: upsert_counts
      WITH importer_done AS ({statement} RETURNING {is_new} AS importer_is_new)
      SELECT pg_catalog.count(*) FILTER (WHERE importer_is_new), pg_catalog.count(*) FILTER (WHERE NOT importer_is_new)
      INTO importer_new, importer_changed FROM importer_done;

-- A row that is not written is unchanged, or a trigger prevented the write: then it prevents this one, too. What this
-- one writes is rolled back.
-- fragment: check_unchanged
        IF importer_same > 0 THEN
          BEGIN
            {target_path}
            WITH importer_done AS ({forced} RETURNING 1)
            SELECT pg_catalog.count(*) INTO importer_forced FROM importer_done;
            {own_path}
            RAISE EXCEPTION USING ERRCODE = 'IM002';
          EXCEPTION WHEN SQLSTATE 'IM002' THEN NULL;
          END;
          IF importer_forced <> importer_count THEN {lost} END IF;
        END IF;

-- fragment: count
      SELECT count(*) INTO importer_count FROM {staging} WHERE {rows};

-- fragment: lost
      RAISE EXCEPTION USING ERRCODE = '{row_skipped}',
        MESSAGE = 'a trigger or rule of the table left the row out without an error';
