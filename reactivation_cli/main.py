"""The command `reactivation`. Each command is a few lines: parse, open the platform, call, print."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from reactivation_cli.console import fail, print_json, stderr
from reactivation_resources.database.engine import Database, pending_revision
from reactivation_resources.database.engine import migrate as upgrade
from reactivation_resources.platform import open_platform, servers_for
from reactivation_resources.settings import Settings, SettingsError

app = typer.Typer(
    name="reactivation",
    help="Brings lost clients back to salons.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Day = Annotated[
    datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="The platform's day; today by default.")
]


Language = Annotated[Literal["ru", "en"], typer.Option(help="Language of the samples.")]
Stage = Annotated[Literal["gentle", "offer", "win_back"] | None, typer.Option(help="Samples of this stage only.")]
Tone = Annotated[Literal["friendly", "professional", "casual"] | None, typer.Option(help="Samples in this tone only.")]
Business = Annotated[
    Literal["beauty", "barbershop", "dental", "fitness", "other"] | None,
    typer.Option(help="Samples of this kind of business only."),
]
Demo = Annotated[bool, typer.Option("--demo", help="Look at the demo's town instead.")]


def _settings(demo: bool = False) -> Settings:
    try:
        settings = Settings.load()
    except SettingsError as error:
        fail(str(error))
    if not demo:
        return settings
    from reactivation_cli.demo import demo_settings

    return demo_settings(settings)


@app.command()
def migrate() -> None:
    """Bring the database schema up to date."""
    with servers_for(_settings()) as urls:
        before, head = pending_revision(urls.database_url)
        upgrade(urls.database_url)
    stderr.print(f"schema: {before or 'empty'} -> {head}")


@app.command()
def messages(
    sample: Annotated[bool, typer.Option("--sample", help="Print final texts for people to read.")] = False,
    language: Language = "ru",
    business: Business = None,
    stage: Stage = None,
    tone: Tone = None,
    by_model: Annotated[
        bool, typer.Option("--model", help="Have the model write the samples; it costs what it costs.")
    ] = False,
    lint: Annotated[
        list[Path] | None, typer.Option("--lint", help="Check a file of texts (…ru.txt or …en.txt); may be repeated.")
    ] = None,
    company: Annotated[int | None, typer.Option(help="Show what a client of this company would be written…")] = None,
    client: Annotated[int | None, typer.Option(help="…this client.")] = None,
) -> None:
    """Read messages before clients do: samples, one client's, or a check of the files they come from."""
    from reactivation_cli import messages as shown

    if lint:
        if not shown.check(lint):
            raise typer.Exit(1)
    elif company is not None and client is not None:
        shown.preview(_settings(), company, client)
    elif sample:
        shown.gallery(_settings() if by_model else None, language, business, stage, tone)
    else:
        fail("say what to show: --sample, --lint FILE, or --company C --client K")


@app.command("import")
def import_command(
    directory: Annotated[Path | None, typer.Argument(help="Folder with company.json and the tables.")] = None,
    template: Annotated[Path | None, typer.Option(help="Write an example book into this folder instead.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where bad rows go; in the home by default.")] = None,
    as_json: Json = False,
) -> None:
    """Load a salon's book from CSV or Parquet files. A second run changes nothing; see docs/import.md."""
    from reactivation_cli.importing import import_directory, write_example

    if (directory is None) == (template is None):
        fail("name a folder to import, or --template FOLDER to write an example into")
    if template is not None:
        write_example(template)
    elif directory is not None:
        import_directory(_settings(), directory, rejects, as_json=as_json)


@app.command()
def run(
    day: Day = None,
    company: Annotated[int | None, typer.Option(help="Plan and report this company only.")] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Live the day on a simulated clock, with the sandbox as CRM and channel.")
    ] = False,
    list_asset: Annotated[
        str | None, typer.Option("--list", metavar="ASSET", help="Print this asset's rows as CSV, and nothing else.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the daily job once. Any day but today is analysis only: nothing is planned, sent or asked for."""
    from reactivation_cli.running import run_command

    if as_json and list_asset:
        fail("--json and --list both want standard output: choose one")
    run_command(
        _settings(), day.date() if day else None, company, simulate=simulate, list_asset=list_asset, as_json=as_json
    )


@app.command()
def explain(
    company: Annotated[int, typer.Option(help="The company's id.")],
    client: Annotated[int, typer.Option(help="The client's id.")],
    day: Day = None,
    as_json: Json = False,
    demo: Demo = False,
) -> None:
    """Say why a client was or was not contacted: every rule, threshold, limit and date that decided it."""
    from reactivation_cli.explain import explain as explanation_of
    from reactivation_cli.explain import print_explanation

    with open_platform(_settings(demo)) as platform:
        upgrade(platform.urls.database_url)
        try:
            explanation = explanation_of(platform, company, client, day.date() if day else platform.calendar.today())
        except (LookupError, ValueError) as error:
            fail(str(error))
    print_json(explanation.as_json()) if as_json else print_explanation(explanation)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check configuration, connections, clock, zones, accounts and keys, and say what to do about each failure."""
    from reactivation_cli.doctor import diagnose, print_findings, worst

    findings = diagnose(_settings())
    print_json({"findings": [finding.as_json() for finding in findings]}) if as_json else print_findings(findings)
    raise typer.Exit(1 if worst(findings) == "failure" else 0)


@app.command()
def connect(
    company: Annotated[int, typer.Argument(help="The salon's number in the CRM.", min=1)],
    business_type: Annotated[
        Literal["beauty", "barbershop", "dental", "fitness", "other"],
        typer.Option(help="Its trade: words, usual intervals."),
    ],
    consent_basis: Annotated[str, typer.Option(help="On what ground its clients may be written to.")],
    session: Annotated[str, typer.Option(help="The name of its number at the WhatsApp gateway.")],
    enable: Annotated[bool, typer.Option("--enable", help="Turn reactivation on for it.")] = False,
    webhook_url: Annotated[
        str | None, typer.Option(help="Where the CRM reaches the HTTP API, to be told of changes: https://HOST.")
    ] = None,
    accept_risk: Annotated[
        list[str] | None,
        typer.Option(
            help="A channel policy whose risk the owner takes upon himself, such as whatsapp_ru; may be repeated."
        ),
    ] = None,
    cloud_number: Annotated[
        str | None, typer.Option(help="The id of its number at WhatsApp's Cloud API, which is then used first.")
    ] = None,
    cloud_business: Annotated[str | None, typer.Option(help="The id of that number's business account.")] = None,
) -> None:
    """Connect a salon of the CRM: its card, two years of its journal, rules, webhook. Once more changes nothing."""
    from reactivation_cli.crm import connect as connect_salon

    if (cloud_number is None) != (cloud_business is None):
        fail("--cloud-number and --cloud-business go together: templates belong to the business")
    connect_salon(
        _settings(),
        company,
        business_type=business_type,
        consent_basis=consent_basis,
        session=session,
        enabled=enable,
        webhook_url=webhook_url,
        accepted_risks=accept_risk or [],
        cloud=(cloud_number, cloud_business) if cloud_number and cloud_business else None,
    )


@app.command()
def mirror(
    company: Annotated[list[int] | None, typer.Option(help="This company only; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Read what has changed in the CRM now. The exit status is 1 when a company could not be read."""
    from reactivation_cli.crm import mirror as mirror_now

    raise typer.Exit(0 if mirror_now(_settings(), company or [], as_json=as_json) else 1)


@app.command()
def send(
    once: Annotated[bool, typer.Option("--once", help="Send what is due now and end.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and send what comes due, until Ctrl-C.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Only the share K, from 0, of N shares of the salons.")
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Messages on their way at once.", min=1, max=256)] = 96,
    as_json: Json = False,
) -> None:
    """Send due messages without Dagster. Any number of these, and Dagster's own runs, may work at once: limits hold."""
    from reactivation_cli.sending import send as send_messages

    if once == watch:
        fail("choose one: --once sends what is due and ends, --watch stays")
    send_messages(_settings(), watch=watch, shard=shard, concurrency=concurrency, as_json=as_json)


@app.command("rebuild-history")
def rebuild_history(as_json: Json = False) -> None:
    """Write the lake's visit history anew from the database, whatever lies there."""
    from reactivation_cli.history import rebuild_history as rebuild

    rebuild(_settings(), as_json=as_json)


@app.command("demo")
def demo_command(
    days: Annotated[int, typer.Option(help="Simulated days.", min=1, max=120)] = 14,
    salons: Annotated[int, typer.Option(help="Salons in the town.", min=1, max=20)] = 3,
    clients: Annotated[int, typer.Option(help="Clients of each salon.", min=20, max=5000)] = 400,
    seed: Annotated[int, typer.Option(help="Another seed is another town.")] = 7,
) -> None:
    """Live some weeks in a pretend town with the real Dagster jobs, and report what it earned."""
    from reactivation_cli.demo import run_demo

    run_demo(_settings(), days=days, salons=salons, clients=clients, seed=seed)


@app.command()
def up(demo: Demo = False) -> None:
    """Start everything an operator needs: servers, Dagster's UI and daemon, the HTTP API. Ctrl-C stops all of it."""
    from reactivation_cli.up import up as start

    raise typer.Exit(start(_settings(demo)))


templates = typer.Typer(help="WhatsApp's message templates.", no_args_is_help=True)
app.add_typer(templates, name="templates")


@templates.command("list")
def templates_list() -> None:
    """Show what WhatsApp keeps for our businesses, and why a template is not sent."""
    from reactivation_cli.templates import show

    show(_settings())


@templates.command("lint")
def templates_lint() -> None:
    """Hold our own templates against WhatsApp's rules. The exit status is 1 when one breaks them."""
    from reactivation_cli.templates import check

    raise typer.Exit(0 if check() else 1)


@templates.command("sync")
def templates_sync() -> None:
    """Read the templates of every business now; otherwise it happens every hour. The exit status is 1 when one could not be read."""
    from reactivation_cli.templates import bring_up_to_date

    raise typer.Exit(0 if bring_up_to_date(_settings()) else 1)


@templates.command("submit")
def templates_submit(
    business: Annotated[str, typer.Argument(help="The business account's id at WhatsApp.")],
    language: Annotated[str, typer.Option(help="ru or en.")] = "ru",
) -> None:
    """Hand in our templates that a business does not have yet."""
    from reactivation_cli.templates import submit

    raise typer.Exit(0 if submit(_settings(), business, language) else 1)


keys = typer.Typer(help="API keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    company: Annotated[int | None, typer.Option(help="The company it belongs to; an admin key without.")] = None,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    from reactivation_resources.api_keys import create

    with _database() as database:
        typer.echo(create(database, name, company))


@keys.command("list")
def keys_list() -> None:
    """List the keys."""
    from rich.console import Console
    from rich.table import Table

    from reactivation_resources.api_keys import list_keys

    table = Table("id", "name", "company", "created", "revoked")
    with _database() as database:
        for key in list_keys(database):
            company = "admin" if key.company_id is None else str(key.company_id)
            table.add_row(
                str(key.key_id), key.name, company, f"{key.created_at:%Y-%m-%d}", "yes" if key.revoked_at else ""
            )
    Console().print(table)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[int, typer.Argument(help="The key's id, as `keys list` shows it.")]) -> None:
    """Make a key worthless."""
    from reactivation_resources.api_keys import revoke

    with _database() as database:
        if not revoke(database, key_id):
            fail(f"no key {key_id} that is in force: see `reactivation keys list`")


@contextmanager
def _database() -> Iterator[Database]:
    """The database with its schema up to date."""
    with open_platform(_settings()) as platform:
        upgrade(platform.urls.database_url)
        yield platform.database


if __name__ == "__main__":
    app()
