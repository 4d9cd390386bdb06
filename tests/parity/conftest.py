"""After `pytest tests/parity`, print the errors that the tests measured: the largest of each kind."""


def pytest_terminal_summary(terminalreporter):
    worst = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in getattr(report, "user_properties", []):
            test = report.nodeid.split("::")[-1].split("[")[0]
            case = report.nodeid.split("[")[-1].rstrip("]") if name == "planted" else ""
            key = f"{name}: {case}" if case else f"{test.removeprefix('test_')}: {name}"
            worst[key] = max(worst.get(key, 0.0), value)
    if worst:
        terminalreporter.section("measured errors, in units of max(1, |out|)")
        for key, value in worst.items():
            terminalreporter.write_line(f"{value:10.2e}  {key}")
