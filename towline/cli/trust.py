"""`towline trust`: the commands, each in the module of what it does."""

import typer

from towline.cli.trust_make import (
    bump_command,
    init_command,
    rotate_online_command,
    rotate_release_command,
    rotate_root_command,
)
from towline.cli.trust_show import show_command
from towline.cli.trust_sign import publish_command, sign_command
from towline.cli.trust_verify import verify_command

app = typer.Typer(
    no_args_is_help=True, help="Roots: whose word counts on devices.", add_completion=False
)
app.command("init")(init_command)
app.command("sign")(sign_command)
app.command("bump")(bump_command)
app.command("publish")(publish_command)
app.command("show")(show_command)
app.command("verify")(verify_command)

rotate = typer.Typer(
    no_args_is_help=True, help="Draft a root with other keys.", add_completion=False
)
rotate.command("online")(rotate_online_command)
rotate.command("release")(rotate_release_command)
rotate.command("root")(rotate_root_command)
app.add_typer(rotate, name="rotate")
