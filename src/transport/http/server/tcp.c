/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's own header, since the C library's struct tcp_info ends before what is asked for
 * here; the two do not go together in one file. */
#include "transport/http/server/tcp.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
	TCP_IS_ESTABLISHED = 1, /* in the kernel's net/tcp_states.h */
	SEGMENT_MAX = 4096      /* bytes; the kernel carries many of them at once all the same */
};

static bool info_read(int fd, struct tcp_counts *ret)
{
	struct tcp_info info;
	socklen_t len = sizeof info;
	memset(&info, 0, sizeof info);
	memset(ret, 0, sizeof *ret);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return false;
	ret->received = info.tcpi_bytes_received;
	ret->acked = info.tcpi_bytes_acked;
	ret->quiet_ms = info.tcpi_last_data_recv;
	ret->has_ended = info.tcpi_state != TCP_IS_ESTABLISHED;
	return true;
}

void tcp_counts_read(int fd, struct tcp_counts *ret)
{
	if (!info_read(fd, ret))
		return;
	(void)ioctl(fd, SIOCINQ, &ret->unread);
	(void)ioctl(fd, SIOCOUTQ, &ret->unacked);
}

void tcp_counts_glance(int fd, struct tcp_counts *ret)
{
	(void)info_read(fd, ret);
}

void tcp_keep_asking(int fd, int seconds)
{
	const int on = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

void tcp_limit_segments(int fd)
{
	const int bytes = SEGMENT_MAX;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &bytes, sizeof bytes);
}
