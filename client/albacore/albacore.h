/* libalbacore: objects of an Albacore, from C and C++.
 *
 *     #include <albacore/albacore.h>            cc x.c $(pkg-config --cflags --libs albacore)
 *
 * Every call blocks its thread until it is answered, canceled or out of time; any number of threads
 * may use one client at once. Calls return 0 or a negative enum albacore_code and then fill in *e
 * (NULL is allowed everywhere an error is taken). Outputs are written only on success, unless it
 * is said otherwise. Memory that ends in the program fails the process.
 *
 * The ABI is stable within one SONAME: structs that may grow begin with their own size, which their
 * _init function or initialiser sets; nothing else is ever changed.
 *
 * What goes straight to the disks and what through a proxy, and what a read may see:
 * client/albacore/README.md. */
#ifndef ALBACORE_ALBACORE_H
#define ALBACORE_ALBACORE_H

#include <albacore/client.h>
#include <albacore/objects.h>
#include <albacore/transaction.h>

#endif
