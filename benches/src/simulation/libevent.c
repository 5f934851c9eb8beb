/* The simulation on the system's libevent: see mod.rs, which it is the other half of.
 *
 * What it uses of libevent is declared here, as the soname of the library fixes it: so the library alone will do, without
 * the headers.
 *
 *     simulation                                                  prints the version of the library
 *     simulation CLIENTS CONNECTION GROUP DRAIN TICK WARMUP DURATION
 *         bytes per tick, 0 for no limit; milliseconds
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

struct bufferevent;
struct bufferevent_rate_limit_group;
struct ev_token_bucket_cfg;
struct evbuffer;
struct event;
struct event_base;

typedef void (*data_cb)(struct bufferevent *, void *);
typedef void (*event_cb)(struct bufferevent *, short, void *);
typedef void (*timer_cb)(int, short, void *);

const char *event_get_version(void);
void evthread_enable_lock_debugging(void);
struct event_base *event_base_new(void);
int event_base_loopexit(struct event_base *, const struct timeval *);
int event_base_dispatch(struct event_base *);
struct event *event_new(struct event_base *, int, short, timer_cb, void *);
int event_add(struct event *, const struct timeval *);
struct bufferevent *bufferevent_socket_new(struct event_base *, int, int);
void bufferevent_setcb(struct bufferevent *, data_cb, data_cb, event_cb, void *);
int bufferevent_enable(struct bufferevent *, short);
int bufferevent_disable(struct bufferevent *, short);
struct evbuffer *bufferevent_get_input(struct bufferevent *);
struct evbuffer *bufferevent_get_output(struct bufferevent *);
size_t evbuffer_get_length(const struct evbuffer *);
int evbuffer_add(struct evbuffer *, const void *, size_t);
int evbuffer_add_buffer(struct evbuffer *, struct evbuffer *);
int evbuffer_drain(struct evbuffer *, size_t);
struct ev_token_bucket_cfg *ev_token_bucket_cfg_new(size_t, size_t, size_t, size_t, const struct timeval *);
int bufferevent_set_rate_limit(struct bufferevent *, struct ev_token_bucket_cfg *);
struct bufferevent_rate_limit_group *bufferevent_rate_limit_group_new(
    struct event_base *, const struct ev_token_bucket_cfg *);
int bufferevent_add_to_rate_limit_group(struct bufferevent *, struct bufferevent_rate_limit_group *);
int bufferevent_rate_limit_group_decrement_read(struct bufferevent_rate_limit_group *, ssize_t);
int bufferevent_rate_limit_group_decrement_write(struct bufferevent_rate_limit_group *, ssize_t);

#define EV_READ 0x02
#define EV_WRITE 0x04
#define EV_PERSIST 0x10
#define CLOSE_ON_FREE (1 << 0)
#define THREADSAFE (1 << 1)

static long long drain;

static int clients;
static unsigned long long *received;

/* How things stood when what is there at the start had filled the kernel's buffers. */
static struct {
    double cpu;
    unsigned long long received;
} warm;

static void *need(void *pointer, const char *what)
{
    if (!pointer) {
        fprintf(stderr, "cannot make %s\n", what);
        exit(1);
    }
    return pointer;
}

static void check(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
}

static void client_fill(struct bufferevent *bev, void *received)
{
    static const char block[1024];
    struct evbuffer *output = bufferevent_get_output(bev);
    (void)received;
    while (evbuffer_get_length(output) < 8192)
        evbuffer_add(output, block, sizeof block);
}

static void client_read(struct bufferevent *bev, void *received)
{
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t length = evbuffer_get_length(input);
    evbuffer_drain(input, length);
    *(unsigned long long *)received += length;
}

static void server_read(struct bufferevent *bev, void *unused)
{
    struct evbuffer *output = bufferevent_get_output(bev);
    (void)unused;
    evbuffer_add_buffer(output, bufferevent_get_input(bev));
    if (evbuffer_get_length(output) > 1024000)
        bufferevent_disable(bev, EV_READ);
}

static void server_write(struct bufferevent *bev, void *unused)
{
    (void)unused;
    if (evbuffer_get_length(bufferevent_get_output(bev)) < 512000)
        bufferevent_enable(bev, EV_READ);
}

static void drain_group(int fd, short what, void *group)
{
    (void)fd, (void)what;
    bufferevent_rate_limit_group_decrement_read(group, drain);
    bufferevent_rate_limit_group_decrement_write(group, drain);
}

static struct ev_token_bucket_cfg *limit(size_t rate, const struct timeval *tick)
{
    return rate ? need(ev_token_bucket_cfg_new(rate, 4 * rate, rate, 4 * rate, tick), "a limit") : NULL;
}

static struct bufferevent *start(struct event_base *base, int fd)
{
    check(fcntl(fd, F_SETFL, O_NONBLOCK), "O_NONBLOCK");
    return need(bufferevent_socket_new(base, fd, CLOSE_ON_FREE | THREADSAFE), "a bufferevent");
}

static double used(void)
{
    struct rusage usage;
    check(getrusage(RUSAGE_SELF, &usage), "getrusage");
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static unsigned long long sum(void)
{
    unsigned long long all = 0;
    for (int i = 0; i < clients; i++)
        all += received[i];
    return all;
}

static void look(int fd, short what, void *unused)
{
    (void)fd, (void)what, (void)unused;
    warm.cpu = used();
    warm.received = sum();
}

static struct timeval millis(long long count)
{
    struct timeval time = {.tv_sec = count / 1000, .tv_usec = count % 1000 * 1000};
    return time;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        puts(event_get_version());
        return argc != 1;
    }
    /* As the original: locks that are checked, and wait for nobody. THREADSAFE is refused without any. */
    evthread_enable_lock_debugging();
    clients = atoi(argv[1]);
    struct timeval tick = millis(atoll(argv[5])), warmup = millis(atoll(argv[6])), duration = millis(atoll(argv[7]));
    struct ev_token_bucket_cfg *each = limit(atoll(argv[2]), &tick), *all = limit(atoll(argv[3]), &tick);
    drain = atoll(argv[4]);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check(listener, "socket");
    check(bind(listener, (struct sockaddr *)&address, size), "bind");
    check(listen(listener, 16), "listen");
    check(getsockname(listener, (struct sockaddr *)&address, &size), "getsockname");

    int (*pairs)[2] = need(calloc(clients, sizeof *pairs), "room");
    for (int i = 0; i < clients; i++) {
        check(pairs[i][0] = socket(AF_INET, SOCK_STREAM, 0), "socket");
        check(connect(pairs[i][0], (struct sockaddr *)&address, size), "connect");
        check(pairs[i][1] = accept(listener, NULL, NULL), "accept");
    }

    struct event_base *base = need(event_base_new(), "a base");
    struct bufferevent_rate_limit_group *group = NULL;
    if (all)
        group = need(bufferevent_rate_limit_group_new(base, all), "a group");
    received = need(calloc(clients, sizeof *received), "room");
    for (int i = 0; i < clients; i++) {
        struct bufferevent *client = start(base, pairs[i][0]), *server = start(base, pairs[i][1]);
        bufferevent_setcb(server, server_read, server_write, NULL, NULL);
        if (each)
            check(bufferevent_set_rate_limit(server, each), "set_rate_limit");
        if (group)
            check(bufferevent_add_to_rate_limit_group(server, group), "add_to_rate_limit_group");
        bufferevent_enable(server, EV_READ | EV_WRITE);
        bufferevent_setcb(client, client_read, client_fill, NULL, &received[i]);
        client_fill(client, NULL);
        bufferevent_enable(client, EV_READ | EV_WRITE);
    }
    if (group && drain)
        check(event_add(need(event_new(base, -1, EV_PERSIST, drain_group, group), "a timer"), &tick), "event_add");

    check(event_add(need(event_new(base, -1, 0, look, NULL), "a timer"), &warmup), "event_add");
    check(event_base_loopexit(base, &duration), "loopexit");
    check(event_base_dispatch(base), "dispatch");
    printf("{\"cpu_ms\":%.3f,\"meanwhile\":%llu,\"received\":[", used() - warm.cpu, sum() - warm.received);
    for (int i = 0; i < clients; i++)
        printf("%s%llu", i ? "," : "", received[i]);
    puts("]}");
    return 0;
}
