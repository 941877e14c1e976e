"""The whole system on one machine without containers: `python -m deploy.local {install,up,down,status,clean}`."""
