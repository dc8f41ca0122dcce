"""Workflows for GitHub and GitLab that train and judge what a change declares, and show the report.

What comes from a fork runs without secrets, so on GitHub a second workflow, of the main branch, posts the
comment; it runs nothing of the change, and takes nothing from it but the report and a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

_GITHUB = """\
# Made by varv ci template github.
name: varv
on:
  pull_request:
permissions:
  contents: read
jobs:
  report:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
      - uses: actions/checkout@v4
        with:
          lfs: true
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install varv
      - run: varv replay {project} --declared-only
      - name: Judge the candidate
        run: |
          mkdir -p report
          echo "$NUMBER" > report/number
          set +e
          varv ci report --to report/report.md --junit report/junit.xml
          status=$?
          cat report/report.md >> "$GITHUB_STEP_SUMMARY"
          exit $status
        env:
          NUMBER: ${{{{ github.event.pull_request.number }}}}
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: varv-report
          path: report/
"""
_GITHUB_COMMENT = """\
# Made by varv ci template github. Runs on the main branch's behalf: it checks out nothing.
name: varv comment
on:
  workflow_run:
    workflows: [varv]
    types: [completed]
permissions:
  actions: read
  pull-requests: write
jobs:
  comment:
    if: github.event.workflow_run.event == 'pull_request'
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v4
        with:
          name: varv-report
          path: report
          run-id: ${{ github.event.workflow_run.id }}
          github-token: ${{ github.token }}
      - uses: actions/github-script@v7
        with:
          script: |
            const fs = require("fs");
            const number = Number(fs.readFileSync("report/number", "utf8").trim());
            const body = fs.readFileSync("report/report.md", "utf8").slice(0, 65000);
            const marker = body.split("\\n", 1)[0];
            if (!Number.isSafeInteger(number) || number < 1 || marker !== "MARKER") return;
            const run = context.payload.workflow_run;
            const {data: pull} = await github.rest.pulls.get({...context.repo, pull_number: number});
            if (pull.head.sha !== run.head_sha) return;
            const comments = await github.paginate(
              github.rest.issues.listComments, {...context.repo, issue_number: number});
            const mine = comments.find(
              one => one.user.type === "Bot" && one.body.startsWith(marker));
            if (mine) await github.rest.issues.updateComment({...context.repo, comment_id: mine.id, body});
            else await github.rest.issues.createComment({...context.repo, issue_number: number, body});
"""
_GITLAB = """\
# Made by varv ci template gitlab. VARV_COMMENT_TOKEN is a token of the project with the scope api; without it
# the report is an artifact and a test report, and no comment is written.
varv:
  image: python:3.12
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
  script:
    - pip install varv
    - varv replay {project} --declared-only
    - mkdir -p report
    - varv ci report --to report/report.md --junit report/junit.xml || status=$?
    - |
      if [ -n "$VARV_COMMENT_TOKEN" ]; then python - <<'END'
      import json, os, urllib.request
      base = (f"{{os.environ['CI_API_V4_URL']}}/projects/{{os.environ['CI_PROJECT_ID']}}"
              f"/merge_requests/{{os.environ['CI_MERGE_REQUEST_IID']}}/notes")
      def ask(method, url, body=None):
          data = None if body is None else json.dumps(body).encode()
          headers = {{"PRIVATE-TOKEN": os.environ["VARV_COMMENT_TOKEN"], "Content-Type": "application/json"}}
          return json.load(urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)))
      body = open("report/report.md", encoding="utf-8").read()
      notes = ask("GET", f"{{base}}?per_page=100")
      mine = [one["id"] for one in notes if one["body"].startswith("MARKER")]
      ask("PUT", f"{{base}}/{{mine[0]}}", {{"body": body}}) if mine else ask("POST", base, {{"body": body}})
      END
      fi
    - exit ${{status:-0}}
  artifacts:
    when: always
    paths: [report/]
    reports:
      junit: report/junit.xml
"""


def _github(project: str, marker: str) -> Mapping[str, str]:
    return {
        ".github/workflows/varv.yml": _GITHUB.format(project=project),
        ".github/workflows/varv-comment.yml": _GITHUB_COMMENT.replace("MARKER", marker),
    }


def _gitlab(project: str, marker: str) -> Mapping[str, str]:
    return {".gitlab/varv.yml": _GITLAB.format(project=project).replace("MARKER", marker)}


WORKFLOWS: Mapping[str, Callable[[str, str], Mapping[str, str]]] = {"github": _github, "gitlab": _gitlab}
"""By the name of a host, what writes its files for a project and the marker of its comments."""
