"""`digestry ci add|list|show|remove|test`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

from cyclopts import Parameter

from registry.access.ci import Examined
from registry.assembly import Registry
from registry.cli.acting import DURATION, OPERATING, Duration, client_address, every, interruptible, note, say
from registry.cli.opening import run_on
from registry.cli.options import AsJson, ConfigFile, Flags
from registry.cli.tables import print_table
from registry.config import Settings
from registry.domain.access import OPERATOR
from registry.domain.ci import LIFETIME, Rule, parse_rule
from registry.domain.ci_claims import Check
from registry.domain.problems import Invalid, Missing
from registry.domain.times import rfc3339
from registry.values import written_duration

# What a job runs to log in, by provider
_JOBS = {
    "github": """\
permissions:
  id-token: write
  contents: read
steps:
  - run: |
      curl -sSf -H "Authorization: bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
        "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={quoted}" | jq -r .value |
        docker login -u oidc --password-stdin {address}""",
    "gitlab": """\
job:
  id_tokens:
    REGISTRY_TOKEN:
      aud: {written}
  script:
    - echo "$REGISTRY_TOKEN" | docker login -u oidc --password-stdin {address}""",
    "generic": """\
# TOKEN: an identity token of the issuer for the audience {written}
echo "$TOKEN" | docker login -u oidc --password-stdin {address}""",
}


USUAL_LIFETIME = Duration(LIFETIME)
NEVER = Duration(0)

Name: TypeAlias = Annotated[str, Parameter(help="The rule's name, such as deploy; its jobs are ci:NAME.")]
Provider: TypeAlias = Annotated[
    Literal["github", "gitlab", "generic"], Parameter(name="--provider", help="Who runs the jobs.")
]
Claims: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--claim",
        negative="",
        help="CLAIM=VALUE that a token must have; again for more claims, or for another value that one may have. "
        "`VALUE*` is what begins so. One claim is an id that nobody else can get.",
    ),
]
Issuer: TypeAlias = Annotated[
    str, Parameter(name="--issuer", help="The `iss` of its tokens, exactly; GitHub's and GitLab's own are known.")
]
Audience: TypeAlias = Annotated[
    str, Parameter(name="--audience", help="The `aud` that jobs ask for; http.host if not given.")
]
Lifetime: TypeAlias = Annotated[
    Duration, DURATION, Parameter(name="--lifetime", help="How long a login lasts: 1m to 12h.")
]
Reuse: TypeAlias = Annotated[
    Duration,
    DURATION,
    Parameter(
        name="--reuse",
        show_default=False,
        help="How long after its first use a token may be used again, from the same address: up to 1m. "
        "podman, buildah and containerd need 10s, for one command; otherwise each token is good for one login.",
    ),
]
TokenFile: TypeAlias = Annotated[
    Path, Parameter(allow_leading_hyphen=True, help="A file with a token, or `-` for stdin. The token is not shown.")
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Jobs:
    """Which jobs, and how they log in: the flags of a rule."""

    provider: Provider
    claims: Claims
    issuer: Issuer = ""
    audience: Audience = ""
    lifetime: Lifetime = USUAL_LIFETIME
    reuse: Reuse = NEVER


def add(name: Name, /, *, jobs: Jobs, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Make a rule: which jobs log in as ci:NAME, which may do nothing until granted."""

    async def make(registry: Registry) -> None:
        wanted = parse_rule(
            name,
            jobs.provider,
            jobs.audience or _own_audience(registry.settings),
            _parse_claims(jobs.claims),
            created_by=OPERATOR.name,
            issuer=jobs.issuer,
            lifetime=jobs.lifetime,
            reuse=jobs.reuse,
        )
        await registry.access.rules.add(wanted, OPERATING)
        rule = await registry.access.rules.get(name)
        text = (
            f"made the rule {name}\n"
            f"what its jobs may do: digestry grant add ci:{name} 'team/**' pull,push\n"
            f"in the job:\n\n{_job(rule, registry.settings)}"
        )
        say(text, _told(rule), as_json=as_json)
        _note_no_host(registry.settings)

    return run_on(config, flags, make, as_json=as_json)


def list_rules(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Rules, by name."""

    async def show(registry: Registry) -> None:
        rules = await every(registry.access.rules.list)
        if as_json:
            print(json.dumps([_told(rule) for rule in rules], indent=2))
        else:
            rows = [_row(rule) for rule in rules]
            print_table(["name", "provider", "issuer", "audience", "reuse", "claims"], rows)

    return run_on(config, flags, show, as_json=as_json)


def show(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """A rule, and what its jobs run to log in."""

    async def tell(registry: Registry) -> None:
        rule = await registry.access.rules.get(name)
        if as_json:
            print(json.dumps(_told(rule), indent=2))
            return
        print_table(["rule", rule.name], _rows(rule))
        print(f"\nin the job:\n\n{_job(rule, registry.settings)}")
        _note_no_host(registry.settings)

    return run_on(config, flags, tell, as_json=as_json)


def remove(name: Name, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Remove a rule, with its grants; its jobs are logged out."""

    async def delete(registry: Registry) -> None:
        await registry.access.rules.delete(name, OPERATING)
        say(f"removed the rule {name}, with its grants; its jobs are logged out", {"name": name}, as_json=as_json)

    return run_on(config, flags, delete, as_json=as_json)


def examine(token_file: TokenFile, /, *, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> int:
    """Say what each rule finds in a token; exit code 1 when none accepts it. It is not used up."""

    async def check(registry: Registry) -> int:
        examined = await registry.access.ci.explain(_read_token(token_file))
        if not examined:
            raise Missing("there is no rule yet: digestry ci add --help")
        if as_json:
            print(json.dumps([_told_examined(one) for one in examined], indent=2))
        else:
            for one in examined:
                _print(one)
        return 0 if any(one.passed for one in examined) else 1

    return run_on(config, flags, check, as_json=as_json)


def _parse_claims(texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise Invalid(f"--claim {text}: expected CLAIM=VALUE, such as ref=refs/heads/main")
        found.setdefault(name, []).append(value)
    return found


def _own_audience(settings: Settings) -> str:
    if not settings.http.host:
        raise Invalid("what do jobs ask a token for? give --audience, or set http.host, the address that clients use")
    return settings.http.host


def _note_no_host(settings: Settings) -> None:
    if not settings.http.host:
        note("http.host is not set: jobs can't log in until it is, because it brings the token service")


def _job(rule: Rule, settings: Settings) -> str:
    return _JOBS[rule.provider].format(
        quoted=quote(rule.audience, safe=""),
        written=json.dumps(rule.audience),
        address=client_address(settings),
    )


def _told(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "provider": rule.provider,
        "issuer": rule.issuer,
        "audience": rule.audience,
        "claims": {claim: list(values) for claim, values in rule.claims.items()},
        "lifetime": written_duration(rule.lifetime),
        "reuse": written_duration(rule.reuse) if rule.reuse else None,
        "created_by": rule.created_by,
        "created_at": rfc3339(rule.created_at),
    }


def _row(rule: Rule) -> list[str]:
    return [rule.name, rule.provider, rule.issuer, rule.audience, _reuse(rule), _in_words(rule)]


def _rows(rule: Rule) -> list[list[str]]:
    plain = {**_told(rule), "claims": _in_words(rule), "reuse": _reuse(rule)}
    return [[key.replace("_", " "), value] for key, value in plain.items() if key != "name"]


def _reuse(rule: Rule) -> str:
    return written_duration(rule.reuse) if rule.reuse else "never"


def _in_words(rule: Rule) -> str:
    return ", ".join(f"{claim}={'|'.join(values)}" for claim, values in rule.claims.items())


def _read_token(file: Path) -> str:
    """No error tells the file's name: it may be the token itself."""
    try:
        with interruptible():
            found = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise Invalid(f"the token file can't be read: {error.strerror}; `-` is stdin") from error
    return found.decode(errors="replace").strip()


def _print(examined: Examined) -> None:
    print(f"{examined.rule.name}: {'accepted' if examined.passed else 'not accepted'}")
    width = max(len(check.what) for check in examined.checks)
    for check in examined.checks:
        print(f"  {_mark(check)} {check.what:<{width}}  {check.detail}")


def _mark(check: Check) -> str:
    if sys.stdout.isatty():
        return "✓" if check.passed else "✗"
    return "ok    " if check.passed else "FAILED"


def _told_examined(examined: Examined) -> dict[str, Any]:
    checks = [{"what": check.what, "passed": check.passed, "detail": check.detail} for check in examined.checks]
    return {"rule": examined.rule.name, "accepted": examined.passed, "checks": checks}
