"""Why a network answers what it answers, and whether the reasons hold."""
