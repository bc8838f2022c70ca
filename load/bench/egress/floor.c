/* The floor of the egress bench: a server that only writes. No input, no decision, no handshake.
 *
 *     floor SOCKETS RATE BYTES BEGIN_NS END_NS
 *
 * It prints its port, takes SOCKETS connections, and from BEGIN to END (CLOCK_MONOTONIC, ns) writes what
 * is due, RATE samples a second of BYTES bytes each, to all of them: one write a socket and sweep, each
 * sample with a WebSocket frame's two-byte head and its mark (see sink.c). What has become due while it
 * swept goes into the next sweep together.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SWEEP_MAX = 2048 }; /* samples in one write */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put(int fd, const char *from, size_t length) {
    while (length) {
        ssize_t sent = send(fd, from, length, MSG_NOSIGNAL);
        if (sent <= 0) return;
        from += sent;
        length -= (size_t)sent;
    }
}

int main(int argc, char **argv) {
    if (argc != 6) { fprintf(stderr, "floor SOCKETS RATE BYTES BEGIN_NS END_NS\n"); return 2; }
    int sockets = atoi(argv[1]), rate = atoi(argv[2]);
    size_t size = (size_t)atoi(argv[3]);
    uint64_t begin = strtoull(argv[4], NULL, 10), end = strtoull(argv[5], NULL, 10);
    if (size < 24 || size > 125) { fprintf(stderr, "floor: BYTES must be 24…125\n"); return 2; }
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 1024)) { perror("floor"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int *fds = calloc((size_t)sockets, sizeof *fds);
    for (int i = 0; i < sockets; i++) {
        fds[i] = accept(listener, NULL, NULL);
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    char *sweep = malloc((size + 2) * SWEEP_MAX);
    uint64_t number = 0, gap = 1000000000u / (uint64_t)rate;
    for (;;) {
        uint64_t next = begin + number * gap, at = now();
        if (next >= end) break;
        if (at < next) {
            struct timespec until = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            continue;
        }
        size_t filled = 0;
        for (int many = 0; many < SWEEP_MAX && next <= at && next < end; many++, next = begin + number * gap) {
            char *frame = sweep + filled;
            memset(frame, 'x', size + 2);
            frame[0] = (char)0x82;
            frame[1] = (char)size;
            char mark[18];
            snprintf(mark, sizeof mark, "~%016" PRIx64, next);
            memcpy(frame + 2, mark, 17);
            filled += size + 2;
            number++;
        }
        for (int i = 0; i < sockets; i++) put(fds[i], sweep, filled);
    }
    /* until the bench ends us: closing would race with the last reads */
    pause();
    return 0;
}
