"""GitHub, GitLab and Gitea: nothing speaks to a forge yet."""
