"""The stand-in's competition: its files, submissions and leaderboard."""

from typing import Any

from standin_storage import Answer, Ask, Refused, Route, Storage, page_of, zip_of


class Competition(Storage):
    def __init__(self) -> None:
        super().__init__()
        self.user = "fake-user"
        self.competition = "tpu-getting-started"
        self.files: dict[str, bytes] = {}
        self.zip_wrap: set[str] = set()  # files that arrive as NAME.zip
        self.rules_accepted = True
        self.notebooks_only = False
        self.page_cap: int | None = None  # no page of a listing of files is longer
        self.max_daily, self.num_today, self.num_total = 5, 0, 0
        self.submissions: list[dict[str, Any]] = []  # oldest first; tests may put their own there
        self.submitted: dict[int, bytes] = {}  # ref -> the file
        self.score_after_polls: int | None = 0  # None: pending for ever
        self.submission_error = ""  # not empty: scoring fails with it
        self.public_score, self.private_score = "0.98765", ""
        self.leaderboard: list[dict[str, Any]] = []  # teamId, teamName, submissionDate, score
        self._polls_left: dict[int, int | None] = {}

    def competition_routes(self) -> dict[str, Route]:
        return {
            "GetCompetition": self._get_competition,
            "ListDataFiles": self._list_data_files,
            "DownloadDataFile": self._download_data_file,
            "DownloadDataFiles": self._download_data_files,
            "StartSubmissionUpload": self._start_submission_upload,
            "CreateSubmission": self._create_submission,
            "CreateCodeSubmission": self._create_code_submission,
            "ListSubmissions": self._list_submissions,
            "GetSubmission": self._get_submission,
            "GetSubmissionLimits": self._get_submission_limits,
            "GetLeaderboard": self._get_leaderboard,
            "DownloadLeaderboard": self._download_leaderboard,
        }

    def find_object(self, path: str) -> bytes | None:
        bucket, _, name = path.partition("/")
        if bucket == "bundle":
            if name == f"{self.competition}.zip":
                return zip_of(self.files)
            lines = [f"{row['teamId']},{row['teamName']},{row['score']}" for row in self.leaderboard]
            return zip_of({"leaderboard.csv": "\n".join(["TeamId,TeamName,Score", *lines, ""]).encode()})
        if bucket != "competition":
            return super().find_object(path)
        whole = name.removesuffix(".zip")
        if whole in self.zip_wrap:
            return zip_of({whole.rpartition("/")[2]: self.files[whole]})
        return self.files.get(name)

    def _check_competition(self, ask: Ask) -> None:
        if ask["competitionName"] != self.competition:
            raise Refused(404, f"Competition not found: {ask['competitionName']}")

    def _check_rules(self, ask: Ask, purpose: str) -> None:
        self._check_competition(ask)
        if not self.rules_accepted:
            raise Refused(403, f"You must accept this competition's rules before you'll be able to {purpose}.")

    def _get_competition(self, ask: Ask) -> dict[str, Any]:
        self._check_competition(ask)
        return {
            "id": 21154,
            "ref": f"https://www.kaggle.com/competitions/{self.competition}",
            "title": "Petals to the Metal",
            "url": f"https://www.kaggle.com/competitions/{self.competition}",
            "deadline": "2030-12-31T23:59:00Z",
            "userHasEntered": self.rules_accepted,
            "maxDailySubmissions": self.max_daily,
            "isKernelsSubmissionsOnly": self.notebooks_only,
            "evaluationMetric": "Macro F1 Score",
        }

    def _list_data_files(self, ask: Ask) -> dict[str, Any]:
        self._check_competition(ask)
        names, token = page_of(list(self.files), ask, self.page_cap)
        files = [
            {"name": name, "totalBytes": len(self.files[name]), "creationDate": "2020-03-11T05:31:45.123Z"}
            for name in names
        ]
        return {"files": files, "nextPageToken": token}

    def _download_data_file(self, ask: Ask) -> Answer:
        self._check_rules(ask, "download files")
        name = ask["fileName"]
        if name not in self.files:
            raise Refused(404, f"Not found: {name}")
        return self.redirect(ask, f"competition/{name}" + (".zip" if name in self.zip_wrap else ""))

    def _download_data_files(self, ask: Ask) -> Answer:
        self._check_rules(ask, "download files")
        return self.redirect(ask, f"bundle/{self.competition}.zip")

    def _check_may_submit(self, ask: Ask) -> None:
        self._check_rules(ask, "submit")
        if self.num_today >= self.max_daily:
            raise Refused(
                400,
                f"Submission not allowed: Your team has used its daily Submission allowance ({self.max_daily}) today, "
                "please try again tomorrow UTC (9 hours from now).",
            )

    def _check_takes_files(self, ask: Ask) -> None:
        self._check_may_submit(ask)
        if self.notebooks_only:
            raise Refused(400, "Submission not allowed: This competition only accepts Submissions from Notebooks.")

    def _start_submission_upload(self, ask: Ask) -> dict[str, Any]:
        self._check_takes_files(ask)
        return self.start_upload(ask, ask["fileName"])

    def _create_submission(self, ask: Ask) -> dict[str, Any]:
        self._check_takes_files(ask)
        upload = self.uploaded(ask["blobFileTokens"])
        return self._submit(ask, upload.name, bytes(upload.data))

    def _create_code_submission(self, ask: Ask) -> dict[str, Any]:
        self._check_may_submit(ask)
        ref = f"{ask['kernelOwner']}/{ask['kernelSlug']}"
        if self.kernel_version(ref, int(ask["kernelVersion"] or 0)) is None:
            raise Refused(404, f"Notebook not found: {ref} version {ask['kernelVersion']}")
        return self._submit(ask, ask["fileName"], b"")

    def _submit(self, ask: Ask, file_name: str, body: bytes) -> dict[str, Any]:
        with self.lock:
            self.num_today += 1
            self.num_total += 1
            ref = 50_000_000 + len(self.submissions)
            self.submitted[ref] = body
            self._polls_left[ref] = self.score_after_polls
            self.submissions.append(
                {
                    "ref": ref,
                    "totalBytes": len(body),
                    "date": f"2026-01-01T00:{len(self.submissions) // 60 % 60:02d}:{len(self.submissions) % 60:02d}Z",
                    "description": ask["submissionDescription"],
                    "fileName": file_name,
                    "status": "PENDING",
                    "submittedBy": self.user,
                    "teamName": self.user,
                    "url": f"https://www.kaggle.com/submissions/{ref}/{ref}.raw",
                }
            )
        return {"message": "Successfully submitted to Petals to the Metal", "ref": ref}

    def _look_at(self, submission: dict[str, Any]) -> dict[str, Any]:
        """Each look at a pending submission counts as one poll."""
        with self.lock:
            ref = submission["ref"]
            left = self._polls_left.get(ref)
            if submission["status"] == "PENDING" and left is not None:
                if left == 0 and self.submission_error:
                    submission |= {"status": "ERROR", "errorDescription": self.submission_error}
                elif left == 0:
                    scores = {"publicScore": self.public_score, "privateScore": self.private_score}
                    submission |= {"status": "COMPLETE", **scores}
                self._polls_left[ref] = max(0, left - 1)
            return dict(submission)

    def _list_submissions(self, ask: Ask) -> dict[str, Any]:
        self._check_competition(ask)
        rows, token = page_of(self.submissions[::-1], ask)
        return {"submissions": [self._look_at(row) for row in rows], "nextPageToken": token}

    def _get_submission(self, ask: Ask) -> dict[str, Any]:
        for row in self.submissions:
            if row["ref"] == ask["ref"]:
                return self._look_at(row)
        raise Refused(404, f"Submission not found: {ask['ref']}")

    def _get_submission_limits(self, ask: Ask) -> dict[str, Any]:
        self._check_competition(ask)
        allowed = max(0, self.max_daily - self.num_today)
        return {"numToday": self.num_today, "numTotal": self.num_total, "numAllowedNow": allowed}

    def _get_leaderboard(self, ask: Ask) -> dict[str, Any]:
        self._check_competition(ask)
        rows, token = page_of(self.leaderboard, ask)
        return {"submissions": rows, "nextPageToken": token}

    def _download_leaderboard(self, ask: Ask) -> Answer:
        self._check_competition(ask)
        return self.redirect(ask, "bundle/publicleaderboarddata.zip")
