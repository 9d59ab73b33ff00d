/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#ifndef VPF_CONTROL_H
#define VPF_CONTROL_H

/* The control channel's format: what the driver of a virtual PF (vpf.ko) and vpfd exchange in Ethernet frames on the
 * PF. The specification, with the rules for the exchange, is docs/control-channel.md.
 *
 * A frame is an untagged Ethernet frame with EtherType VPF_CTL_ETHERTYPE, padded with zeros to Ethernet's
 * minimum; the Ethernet header is followed by one message: struct vpf_ctl_hdr, then the body that its type has. All
 * numbers are little-endian. Every struct is packed and has no implicit padding; `reserved` is sent as zeros and not
 * looked at. Text is ASCII, NUL-padded; the receiver does not rely on a NUL at its end.
 *
 * The kernel includes <linux/types.h> for __le16 and so on before this; user space gets them here. */

#include <linux/types.h>

#define VPF_CTL_ETHERTYPE 0x88b5 /* IEEE 802: local experimental Ethertype 1 */
/* Destination, both ways: the nearest bridge's group address, which no bridge forwards (IEEE 802.1Q-2022
 * §8.6.3). A HELLO on a NIC that is no virtual PF goes no further than the wire's end. */
#define VPF_CTL_GROUP                                                                                        \
	{                                                                                                    \
		0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e                                                           \
	}
#define VPF_CTL_HOST_SOURCE                                                                                  \
	{                                                                                                    \
		0x02, 0x76, 0x70, 0x66, 0x00, 0x01                                                           \
	} /* source of vpfd's frames; the driver's: any */

#define VPF_CTL_MAGIC   0x31465056U /* "VPF1" in the order of the bytes sent */
#define VPF_CTL_VERSION 1           /* the only one there is */
#define VPF_CTL_MAX     1400        /* bytes of a message at most, header included */
#define VPF_CTL_KEY_LEN 16

/* The key reaches the guest as an SMBIOS type 11 string (SMBIOS 3.7 §7.12): this, then 32 hexadecimal digits.
 */
#define VPF_CTL_SMBIOS_PREFIX "vpf-key="

/* Types: below 0x80 from driver to vpfd, from 0x80 on from vpfd to driver; so neither can be reflected. */
enum {
	VPF_CTL_HELLO = 0x01,     /* vpf_ctl_hello; session 0 */
	VPF_CTL_GET = 0x02,       /* vpf_ctl_range; answered with vpf_ctl_function records */
	VPF_CTL_SET = 0x03,       /* vpf_ctl_set; answered with the function's record */
	VPF_CTL_STATS = 0x04,     /* vpf_ctl_range; answered with vpf_ctl_stats records */
	VPF_CTL_EVENT_ACK = 0x05, /* no body; sequence: that of the event */
	VPF_CTL_BYE = 0x06,       /* no body: the driver is detaching; not answered */

	VPF_CTL_HELLO_REPLY = 0x81, /* vpf_ctl_hello_reply; session: the new one */
	VPF_CTL_REPLY = 0x82,       /* vpf_ctl_reply, then its records; sequence: the request's */
	VPF_CTL_EVENT = 0x83,       /* vpf_ctl_event, then its vpf_ctl_function records */
	VPF_CTL_RESET = 0x84,       /* no body: vpfd has no such session (0: none at all); say HELLO again */
};

struct vpf_ctl_hdr {
	__le32 magic;
	__u8 version;
	__u8 type;
	__le16 length;   /* of the message: header and body, without the frame's padding; ≤ VPF_CTL_MAX */
	__le64 session;  /* chosen at random by vpfd, never 0; HELLO: 0 */
	__le32 sequence; /* HELLO: 0. Requests: grows with each, and a repeated request keeps it */
	__le32 reserved;
	__le64 tag; /* SipHash-2-4 with the VM's key over the message, this field being 0 */
} __attribute__((packed));

struct vpf_ctl_hello {
	__le64 nonce;                  /* random; the reply has it */
	__u8 min_version, max_version; /* of this format, that the driver speaks */
	__le16 reserved[3];
	char driver[32]; /* version of the driver, for people */
	char kernel[64]; /* release of its kernel, for people */
} __attribute__((packed));

/* Outcome of a request. The numbers are this format's own; the driver turns them into its kernel's errno. */
enum {
	VPF_CTL_OK = 0,
	VPF_CTL_DENIED = 1,  /* EPERM: the policy forbids it, or the host has pinned it; text says which */
	VPF_CTL_INVALID = 2, /* EINVAL: can never be right */
	VPF_CTL_NO_FUNCTION = 3,     /* ENOENT: the virtual PF has no such function */
	VPF_CTL_UNSUPPORTED = 4,     /* EOPNOTSUPP: the fabric cannot do it, or the request is unknown */
	VPF_CTL_CONFLICT = 5,        /* EEXIST: in use by another function (a MAC) */
	VPF_CTL_FAILED = 6,          /* EIO: vpfd could not (its disk, its memory); nothing was changed */
	VPF_CTL_VERSION_UNKNOWN = 7, /* EPROTONOSUPPORT, of HELLO: no version in common */
};

/* What the fabric can carry out; a bit of vpf_ctl_hello_reply.capabilities and of vpf_ctl_set.mask. */
#define VPF_CTL_MAC      0x0001
#define VPF_CTL_VLAN     0x0002
#define VPF_CTL_RATE     0x0004
#define VPF_CTL_SPOOFCHK 0x0008
#define VPF_CTL_TRUST    0x0010
#define VPF_CTL_LINK     0x0020
#define VPF_CTL_SETTINGS 0x003f /* all of them */
/* Capabilities only. */
#define VPF_CTL_CAP_VLAN_AD  0x0100 /* VLANs with an 802.1ad tag */
#define VPF_CTL_CAP_MIN_RATE 0x0200
#define VPF_CTL_CAP_STATS    0x0400

struct vpf_ctl_hello_reply {
	__le64 nonce;
	__le16 status; /* OK or VERSION_UNKNOWN; then only min_version and max_version follow that count */
	__u8 min_version, max_version; /* that vpfd speaks */
	__u8 version;                  /* of this session: the highest in common */
	__u8 reserved;
	__le16 vfs; /* of the virtual PF, whether enabled or not; 0…255 */
	__le32 capabilities;
	__u8 mac[6]; /* permanent MAC of the PF */
	__le16 reserved2;
	char pf[32];     /* name of the virtual PF on the host */
	char daemon[32]; /* vpfd's version, for people */
} __attribute__((packed));

enum { VPF_CTL_LINK_AUTO = 0, VPF_CTL_LINK_ENABLE = 1, VPF_CTL_LINK_DISABLE = 2 };
enum { VPF_CTL_VLAN_NONE = 0, VPF_CTL_VLAN_ACCESS = 1, VPF_CTL_VLAN_TRUNK = 2 };

/* vpf_ctl_function.flags */
#define VPF_CTL_F_SPOOFCHK 0x01
#define VPF_CTL_F_TRUST    0x02
#define VPF_CTL_F_LINK_UP  0x04 /* its carrier, as things are */
#define VPF_CTL_F_STARTED  0x08 /* a driver uses it */

/* A function's settings and state. Functions are numbered 0: the PF, n + 1: VF n. */
struct vpf_ctl_function {
	__le16 function;
	__u8 flags;
	__u8 link;         /* VPF_CTL_LINK_* */
	__u8 mac[6];       /* permanent */
	__u8 admin_mac[6]; /* zeros: none */
	__u8 vlan_mode;    /* VPF_CTL_VLAN_* */
	__u8 pcp;          /* access: 0…7 */
	__le16 vid;        /* access: 1…4094; else 0 */
	__le16 tpid;       /* access: 0x8100 or 0x88a8; else 0x8100 */
	__le16 mtu;
	__le32 min_rate, max_rate; /* Mb/s sent by the function; 0: none */
	__le32 pinned;             /* settings that only the host can change: VPF_CTL_MAC and so on */
} __attribute__((packed));

struct vpf_ctl_stats {
	__le16 function;
	__le16 reserved[3];
	/* As the function sees them: rx is what it received. */
	__le64 rx_packets, rx_bytes, rx_broadcast, rx_multicast, rx_dropped;
	__le64 tx_packets, tx_bytes, tx_broadcast, tx_multicast, tx_dropped;
} __attribute__((packed));

struct vpf_ctl_range {
	__le16 first;
	__le16 count; /* how many are wanted; the reply has as many as fit, and at least one */
	__le32 reserved;
} __attribute__((packed));

struct vpf_ctl_set {
	__le16 function; /* VFs only: 1… */
	__le16 mask;     /* VPF_CTL_SETTINGS: which of the fields below are meant; all or none are changed */
	__u8 mac[6];     /* administrative; zeros: none */
	__u8 spoofchk;   /* 0 or 1 */
	__u8 trust;      /* 0 or 1 */
	__u8 link;       /* VPF_CTL_LINK_* */
	__u8 pcp;        /* 0…7 */
	__le16 vid;      /* 0: no VLAN; 1…4094 */
	__le16 tpid;     /* 0x8100 or 0x88a8 */
	__le16 reserved;
	__le32 min_rate, max_rate; /* Mb/s; 0: none */
} __attribute__((packed));

struct vpf_ctl_reply {
	__u8 request; /* type of the request */
	__u8 reserved;
	__le16 status;  /* VPF_CTL_OK… */
	__le16 first;   /* number of the first record's function */
	__le16 count;   /* records that follow */
	char text[120]; /* status not OK: why, for people */
} __attribute__((packed));

struct vpf_ctl_event {
	__le16 count; /* records that follow, of functions that changed; as they are now, each complete */
	__le16 reserved[3];
} __attribute__((packed));

#define VPF_CTL_REPLY_RECORDS(type)                                                                          \
	((VPF_CTL_MAX - sizeof(struct vpf_ctl_hdr) - sizeof(struct vpf_ctl_reply)) / sizeof(type))
#define VPF_CTL_EVENT_RECORDS                                                                                \
	((VPF_CTL_MAX - sizeof(struct vpf_ctl_hdr) - sizeof(struct vpf_ctl_event)) /                         \
	 sizeof(struct vpf_ctl_function))

#endif
