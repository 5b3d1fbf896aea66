/* Writes the certificates of a deployment, and wrong ones, into a directory: make_certs DIR. */
#include <stdio.h>

#include "unit/net/certs_fixture.h"

int main(int argc, char **argv)
{
    struct certs certs = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: make_certs DIR\n");
        return 2;
    }
    certs.dir = mem_strdup(argv[1]);
    certs_write(&certs);
    certs_release(&certs);
    free(certs.dir);
    return 0;
}
