"""Fair comparison of controllers: the plan, the execution of its runs, their statistics, and the report."""
