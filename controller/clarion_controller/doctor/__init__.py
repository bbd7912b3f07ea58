"""`clarion doctor`: looks at everything that a deployment will need, and says the next command for what is not well."""
