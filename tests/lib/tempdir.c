#include "lib/tempdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

char *tempdir_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *path = mem_printf("%s/albacore-XXXXXX", parent != NULL && *parent ? parent : "/tmp");

    CHECK(mkdtemp(path) != NULL);
    return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void tempdir_remove(char *path)
{
    if (path != NULL) {
        CHECK(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
        free(path);
    }
}

char *tempdir_path(const char *path, const char *name)
{
    return mem_printf("%s/%s", path, name);
}
