"""`python -m towline.cli`: the command line without its installed script."""

from towline.cli.main import main

main()
