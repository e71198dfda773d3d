"""Operating points with a promise: what an artifact answers on held-out texts, run by the runtime that ships
(`collect`); which policies are worth a test (`front`); what the texts prove about them (`risk`, `certify`).
"""
