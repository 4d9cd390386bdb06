"""Assignments: their sources, the student versions, the proofs that their graders work, and grading itself."""
