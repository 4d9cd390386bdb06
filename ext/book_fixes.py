"""Sphinx extension: what Sphinx 7.4, sphinx-thebe and the theme get wrong on this book's pages.

Scripts are emitted twice, and sphinx-thebe's (unused here) point to another site: both are dropped. The entries of the
bibliography are no items of the list that holds them, which leaves a screen reader with an empty list: they become so.
"""


def drop_repeated_scripts(app, pagename, templatename, context, doctree):
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body", "")
        name = getattr(script, "filename", script) or ""
        if (name, body) in seen or "THEBE_JS_URL" in body or "sphinx-thebe" in name:
            continue
        seen.add((name, body))
        kept.append(script)
    context["script_files"] = kept


def make_citations_items(app, pagename, templatename, context, doctree):
    if "citation-list" in context.get("body", ""):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("html-page-context", make_citations_items)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
