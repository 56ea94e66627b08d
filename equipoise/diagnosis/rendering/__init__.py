"""Diagnoses for people and programs: text, Markdown, dictionaries, with the likely cause and the advice."""
