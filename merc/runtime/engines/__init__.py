"""Where the jobs of merc.runtime.workers run: processes of this machine, or actors of Ray on several."""
