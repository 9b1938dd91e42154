"""What stands in the files of a new fleet repository. Texts only; nothing is written here."""

TOML = """\
# Settings of Towline; the environment (TOWLINE_BRANCH and so on) wins over this file.
organization = "{organization}"
branch = "{branch}"

# listen = "127.0.0.1:8443"                  # ADDRESS:PORT of the server
# packages = "packages"                      # the folder behind the server's /packages/
# data = ".towline/data"                     # the server's database
# online_key = ".towline/keys/online.pem"
# release_key = ".towline/keys/release.pem"
# poll_interval = 300                        # seconds that a device waits between polls
"""

ATTRIBUTES = """\
* text=auto eol=lf
*.tar.gz binary
"""

IGNORE = """\
# Keys and the server's data never go into git; packages are large and served beside it.
/.towline/
/packages/
"""

README = """\
# The fleet of {organization}

What lies here is what devices run: a merged commit becomes a rollout, a revert brings it home.

| where | what |
|---|---|
| `deployments/` | one YAML file per Deployment: what should run, where, and how carefully |
| `releases/` | signed statements: which package files may run at all |
| `trust/root/` | signed roots: whose word counts |
| `packages/` | package files that the server hands out (not in git) |
| `towline.toml` | settings |
| `.towline/` | keys and the server's data (not in git) |

Ship a folder that has an `install.sh`:

    towline publish ../hello --version 1.0.0

**The keys in `.towline/keys/` were made by `towline init` and are for development only.** Whoever
has them can put any software on every device of this fleet. `towline trust init` makes others.
"""

EXAMPLE = """\
# What a Deployment can say. Everything is commented out: copy what you need to
# deployments/NAME.yaml, or let `towline publish FOLDER --version V` write that file.
#
# apiVersion: towline/v1
# kind: Deployment
# metadata:
#   name: hello                      # the name that commands and pages show
# spec:
#   component: hello                 # a device has one Deployment per component
#   targetVersion: "1.0.0"           # in quotes, always
#   package:
#     url: hello-1.0.0.tar.gz        # without a scheme: from the server's /packages/
#     checksum: sha256:0c1d…
#   strategy: canary                 # manual | immediate | canary | rolling, or a list of batches
#   filters:                         # none: every device
#     device_type: raspberry_pi
#     labels: {region: eu}
#   health:                          # a device that does not pass goes back by itself
#     - {name: http, http: {port: 8080, path: /healthz, status: 200}}
#   successThreshold: 95%            # of each batch, else the run pauses
#   onFailure: pause                 # pause | abort
#   maxConcurrent: 1000              # devices that install at the same time
"""
