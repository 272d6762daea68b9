"""`easel prove-isolation`: two users walk every route of a running service, each with the names of the other's things.

The routes are the application's own, extensions' included (`routes`). Each user has things with secrets in them
(`belongings`); a route that shows one of these to the other, or lets the other change anything, is a crossing (`walk`).
"""
