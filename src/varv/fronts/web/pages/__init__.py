"""The pages of the console, one module each: functions from read models and a query to a `Page`."""
