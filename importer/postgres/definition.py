"""Says what the whole definition of a table is, so that two readings of it can be compared.

It holds what decides which values the table takes and what becomes of them. What does not is left out, so that work on
a busy table disturbs no load: statistics, storage, comments, privileges, indexes that are not unique.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The parts of a definition: what they are called in messages -> expression over `c`, a row of `pg_class`. Triggers of
#: partitions count as well, because rows are inserted into the partitions. Names in texts depend on the search path,
#: which is the same in both readings; oids besides tell a type from another that was given its name.
PARTS = {
    "the table itself": "concat_ws(' ', c.oid, c.relkind, c.relispartition, pg_get_partkeydef(c.oid))",
    "owner": "c.relowner::text",
    "columns": """(
        select string_agg(concat_ws(' ', a.attnum, quote_ident(a.attname), a.atttypid, a.atttypmod, a.attcollation,
                                    a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid)),
                          E'\\n' order by a.attnum)
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)""",
    "constraints": """(
        select string_agg(concat_ws(' ', quote_ident(k.conname), k.convalidated, pg_get_constraintdef(k.oid)),
                          E'\\n' order by k.conname, k.oid)
        from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'f'))""",
    "unique indexes": """(
        select string_agg(concat_ws(' ', i.indisvalid, i.indimmediate, pg_get_indexdef(i.indexrelid)),
                          E'\\n' order by pg_get_indexdef(i.indexrelid))
        from pg_index i where i.indrelid = c.oid and (i.indisunique or i.indisexclusion))""",
    "triggers": """(
        select string_agg(concat_ws(' ', t.tgenabled, t.tgfoid, pg_get_triggerdef(t.oid)), E'\\n'
                          order by t.tgrelid, t.tgname)
        from pg_trigger t where not t.tgisinternal
        and (t.tgrelid = c.oid or t.tgrelid in (select relid from pg_partition_tree(c.oid))))""",
    "rules": """(
        select string_agg(concat_ws(' ', r.ev_enabled, pg_get_ruledef(r.oid)), E'\\n' order by r.rulename)
        from pg_rewrite r where r.ev_class = c.oid)""",
    "row level security": """concat_ws(' ', c.relrowsecurity, c.relforcerowsecurity, (
        select string_agg(concat_ws(' ', quote_ident(p.polname), p.polcmd, p.polpermissive, p.polroles,
                                    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)),
                          E'\\n' order by p.polname)
        from pg_policy p where p.polrelid = c.oid))""",
    "inheritance": """(
        select string_agg(concat_ws(' ', h.inhparent, h.inhrelid), E'\\n' order by h.inhparent, h.inhrelid)
        from pg_inherits h where c.oid in (h.inhparent, h.inhrelid))""",
}
#: The expressions, as columns.
PARTS_SQL = ", ".join(f"coalesce({part}, '') as p{number}" for number, part in enumerate(PARTS.values()))


def changed_parts(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what differs between two definitions, by the names that their parts have in messages."""
    return [part for part in PARTS if before.get(part) != after.get(part)]
