/* A directory of a test's own, under $TMPDIR or /tmp. */
#ifndef TESTS_LIB_TEMPDIR_H
#define TESTS_LIB_TEMPDIR_H

/* Absolute path; the caller frees it. A failure ends the test. */
char *tempdir_make(void);
/* With everything in it; links are not followed. Frees `path`; NULL is fine. */
void tempdir_remove(char *path);
/* "path/name"; the caller frees it. */
char *tempdir_path(const char *path, const char *name);

#endif
