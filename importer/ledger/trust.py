"""Decides whether schema, ledger and staging can be used: whoever may change what they execute must be trusted.

Rows that this program writes fire the triggers of the table, evaluate its defaults, checks and index expressions, all
with the rights of the role that imports. So nothing in schema `importer` is used because of its name:

* Schema and tables must belong to a role that could act as the importing one anyway: that role itself, a superuser, the
  database's owner, or a role that one of these made it a member of. (The server counts a superuser as a member of every
  role, and before version 16 any role may make others its members; so memberships are read from the catalog, and only
  those count that a trusted role granted.)
* The tables must have no trigger, rule, policy, default, check, index or type but those that `migrations` makes, no
  parent or child, and no role that is not trusted may add a trigger or a foreign key to them.
* Row level security shows every role of the ledger all runs, but lets it change only its own; PUBLIC has no privilege.
* A dead run's staging table must be the one that the run created, by its oid, and must belong to this very role.

After the check only trusted roles can change the answer: it is made under a lock that waits for those who were still
allowed to, and before the first row is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from importer.errors import DatabaseError, TargetRefused
from importer.postgres.sql import literal, quote

from .schema import DENIED, NO_TRUST, SCHEMA, TRUSTED, permission_error, session_role, untrusted_schema
from .structure import TABLES

if TYPE_CHECKING:
    from importer.postgres.session import Session

#: The policies of each table: command (`*` for all), condition. A role changes its own rows; it sees all runs, because
#: the same import by another role is done, too.
OWN_ROWS, ALL_ROWS = ("*", "(role = CURRENT_USER)"), ("r", "true")
POLICIES = {table: {OWN_ROWS, ALL_ROWS} if table == "runs" else {OWN_ROWS} for table in TABLES}
#: Defaults, checks and predicates of the tables, as the server prints them with `pg_catalog` alone on the search path.
_OWN_EXPRESSIONS = (
    "CURRENT_USER", "clock_timestamp()", "'written'::text", "(state = 'written'::text)",
    "(state = ANY (ARRAY['loading'::text, 'published'::text, 'failed'::text, 'interrupted'::text]))",
    "(state <> 'published'::text)",
)  # fmt: skip
#: Defaults that a contract may give to columns of a new table; the other ones are constants.
_STAGING_EXPRESSIONS = (
    "now()", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_USER", "gen_random_uuid()", "clock_timestamp()",
)  # fmt: skip
#: A quoted text (which a cast may follow), a number or a truth value.
_CONSTANT = r"""^('([^']|'')*'(::("[^"]+"|[\w .])+(\(\d+(,\d+)?\))?)?|\(?-?\d+(\.\d+)?\)?(::[a-z ]+)?|true|false)$"""

#: Each fact that speaks against a table: what it is, the table, and details. `{tables}` selects them, `{expressions}`
#: are the expressions that are ours.
_FACTS = """
with recursive {trusted},
tables as (
    select c.oid, c.relname::text as name, c.relkind, c.relowner, c.relacl, c.relrowsecurity, c.relispartition
    from pg_catalog.pg_class c where {tables})
select 'kind' as what, name, relkind::text as detail, '' as role from tables where relkind <> 'r' or relispartition
union all
select 'schema', n.nspname::text, '', pg_catalog.pg_get_userbyid(n.nspowner)::text from pg_catalog.pg_namespace n
where n.nspname = '{schema}' and n.nspowner not in (select oid from trusted)
union all
select 'owner', name, '', pg_catalog.pg_get_userbyid(relowner)::text from tables
where relowner not in (select oid from trusted)
union all
select 'trigger', t.name, g.tgname::text, '' from tables t
join pg_catalog.pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
union all
select 'rule', t.name, r.rulename::text, '' from tables t join pg_catalog.pg_rewrite r on r.ev_class = t.oid
union all
select 'policy', t.name, p.polname::text, pg_catalog.concat_ws(' ', p.polcmd,
       case when p.polpermissive and p.polroles = '{{0}}' and p.polwithcheck is null
            then pg_catalog.pg_get_expr(p.polqual, p.polrelid) else 'other' end)
from tables t join pg_catalog.pg_policy p on p.polrelid = t.oid
union all
select 'default', t.name, a.attname::text, '' from tables t join pg_catalog.pg_attrdef d on d.adrelid = t.oid
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = d.adnum
where a.attgenerated <> '' or not ({default_is_ours})
union all
select 'check', t.name, k.conname::text, '' from tables t join pg_catalog.pg_constraint k on k.conrelid = t.oid
where k.contype = 'x' or k.contype = 'c'
  and pg_catalog.pg_get_expr(k.conbin, k.conrelid) not in ({expressions})
union all
select 'index', t.name, c.relname::text, '' from tables t join pg_catalog.pg_index i on i.indrelid = t.oid
join pg_catalog.pg_class c on c.oid = i.indexrelid
where i.indexprs is not null or i.indpred is not null
  and pg_catalog.pg_get_expr(i.indpred, i.indrelid) not in ({expressions})
union all
select 'inheritance', t.name, h.inhrelid::text, '' from tables t
join pg_catalog.pg_inherits h on t.oid in (h.inhparent, h.inhrelid)
union all
select 'grant', t.name, pg_catalog.string_agg(a.privilege_type, ', ' order by a.privilege_type),
       case when a.grantee = 0 then '' else pg_catalog.pg_get_userbyid(a.grantee)::text end
from tables t cross join lateral pg_catalog.aclexplode(t.relacl) a
where a.grantee not in (select oid from trusted) and (a.grantee = 0 or a.privilege_type in ('TRIGGER', 'REFERENCES'))
group by t.name, a.grantee
"""
#: Types of the ledger's columns are built in; those of staging are the contract's.
_FOREIGN_TYPES = """
union all
select 'type', t.name, a.attname::text, '' from tables t
join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type y on y.oid = a.atttypid
where y.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace
union all
select 'open', t.name, '', '' from tables t where not t.relrowsecurity
"""
#: What a fact is called in a message, by its `what`.
_NAMES = {
    "kind": "is not a plain table", "trigger": "has trigger {}", "rule": "has rule {}", "policy": "has policy {}",
    "default": "has another default of column {}", "check": "has constraint {}", "index": "has index {}",
    "inheritance": "has a parent or a child", "type": "has a column {} of another type",
    "open": "does not restrict which rows a role may change", "missing": "lacks policy {}",
}  # fmt: skip


def check_trust(session: Session, *, writes: bool = True) -> None:
    """Check that only trusted roles decide what the ledger's tables execute. Holds a lock on them until the commit.

    Args:
        session: session with the target server; the tables exist.
        writes: whether rows will be written, not only read.

    Raises:
        TargetRefused: another role does; or this role has no privileges on the tables.
    """
    try:
        lock_tables(session, *TABLES, mode="ROW EXCLUSIVE" if writes else "ACCESS SHARE")
    except DatabaseError as exc:
        if exc.sqlstate != DENIED:
            raise
        session.rollback()
        raise permission_error(session) from None
    facts = _ledger_facts(session)
    own = {(name, role) for what, name, _, role in facts if what == "policy"}
    missing = ((name, " ".join(p)) for name, policies in POLICIES.items() for p in sorted(policies))
    facts += [("missing", name, policy, "") for name, policy in missing if (name, policy) not in own]
    _refuse(session, [fact for fact in facts if not _is_own_policy(fact)])


def check_before_upgrade(session: Session) -> None:
    """Check the tables of an earlier version before statements change them; rows may still be open to other roles.

    Raises:
        TargetRefused: a role that is not trusted decides what they execute.
    """
    there = [name for (name,) in session.query(f"select c.relname::text from pg_catalog.pg_class c where {_LEDGER}")]
    if there:
        lock_tables(session, *(name for name in TABLES if name in there), mode="ACCESS EXCLUSIVE")
        later = {"open"}
        facts = [fact for fact in _ledger_facts(session) if fact[0] not in later and not _is_own_policy(fact)]
        _refuse(session, [fact for fact in facts if fact[0] != "grant" or fact[3]])


def is_own_staging(session: Session, run: str, name: str) -> bool:
    """Return whether a table is the staging table that this role's run created, with nothing added that would execute.

    It holds a lock on the table until the end of the transaction.

    Raises:
        DatabaseError: there is no such table, or the role has no privileges on it.
    """
    lock_tables(session, name, mode="ROW EXCLUSIVE")
    tables = f"""c.relname = {literal(name)} and c.relnamespace = '{SCHEMA}'::pg_catalog.regnamespace
        and pg_catalog.pg_get_userbyid(c.relowner) = current_user
        and c.oid = (select staging_oid from {SCHEMA}.runs where id = {literal(run)} and role = current_user)"""
    allowed = _quoted(_STAGING_EXPRESSIONS)
    ours = f"""pg_catalog.pg_get_expr(d.adbin, d.adrelid) in ({allowed})
        or pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ {literal(_CONSTANT)}"""
    found = "union all select 'found', name, '', '' from tables"
    facts = session.query(_facts_sql(tables, "''", ours) + found)
    return [what for what, *_ in facts] == ["found"]


def lock_tables(session: Session, *names: str, mode: str) -> None:
    """Lock tables of the schema until the end of the transaction."""
    session.run(f"LOCK TABLE ONLY {', ONLY '.join(quote(SCHEMA, name) for name in names)} IN {mode} MODE")


def restrict_to_own_rows(table: str) -> list[str]:
    """Return the statements that let every role change (and see, but for `runs`) only its own rows of a ledger table.

    The table has a column `role text NOT NULL DEFAULT current_user`; `check_trust` expects just these policies.
    """
    name = f"{SCHEMA}.{table}"
    seen = [f"CREATE POLICY all_rows ON {name} FOR SELECT USING (true)"] if ALL_ROWS in POLICIES[table] else []
    return [
        f"REVOKE ALL ON {name} FROM PUBLIC",
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own_rows ON {name} USING (role = CURRENT_USER)",
        *seen,
    ]


def _ledger_facts(session: Session) -> list[tuple[str, str, str, str]]:
    allowed = _quoted(_OWN_EXPRESSIONS)
    ours = f"pg_catalog.pg_get_expr(d.adbin, d.adrelid) in ({allowed})"
    return session.query(_facts_sql(_LEDGER, allowed, ours) + _FOREIGN_TYPES)


#: Selects the ledger's tables from `pg_class c`.
_LEDGER = (
    f"c.relname in ({', '.join(map(literal, TABLES))}) and c.relnamespace = "
    f"(select n.oid from pg_catalog.pg_namespace n where n.nspname = '{SCHEMA}')"
)


def _facts_sql(tables: str, expressions: str, default_is_ours: str) -> str:
    return _FACTS.format(
        trusted=TRUSTED, tables=tables, expressions=expressions, default_is_ours=default_is_ours, schema=SCHEMA
    )


def _quoted(texts: tuple[str, ...]) -> str:
    return ", ".join(map(literal, texts))


def _is_own_policy(fact: tuple[str, str, str, str]) -> bool:
    what, name, _, described = fact
    return what == "policy" and described in {" ".join(policy) for policy in POLICIES[name]}


def _refuse(session: Session, facts: list[tuple[str, str, str, str]]) -> None:
    """Raise the error about the first of these facts, if there is one."""
    if not facts:
        return
    what, name, detail, role = min(facts, key=lambda fact: (fact[0] != "schema", fact[0] != "owner"))
    if what == "schema":
        raise untrusted_schema(session, role)
    me, table = session_role(session), quote(SCHEMA, name)
    if what == "owner":
        raise TargetRefused(
            f"table {table} of the ledger belongs to role {role}, whose code would run with the rights of role {me}",
            choice="if an administrator finds nothing in it that is not this program's: "
            f"ALTER TABLE {table} OWNER TO {me}; {NO_TRUST}",
        )
    if what == "grant":
        grantee = quote(role) if role else "PUBLIC"
        raise TargetRefused(
            f"{grantee} has {detail} on table {table}, so that other roles could have their code run by role {me} or "
            "change its runs",
            choice=f"ask an administrator to run: REVOKE {detail} ON {table} FROM {grantee};",
        )
    raise TargetRefused(
        f"table {table} of the ledger {_NAMES[what].format(quote(detail) if detail else '')}, as no ledger of this "
        f"program; it could run another role's code with the rights of role {me}",
        choice=f"ask an administrator to look at it and to remove it; {NO_TRUST}",
    )
