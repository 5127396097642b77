package container

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// place is what the path of a cgroup tells of it.
type place struct {
	containerID string // of the container whose own cgroup this is, or empty
	podUID      string // of the pod whose own cgroup this is, or empty
	kubepods    bool   // under the kubelet's tree
	system      bool   // of the kubelet or the runtime itself
}

// placeOf reads the path of a cgroup as the cgroupfs and the systemd driver
// write it:
//
//	/kubepods/burstable/pod<uid>/<container>
//	/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<container>.scope
//
// Both stand under a parent of their own where the kubelet has a --cgroup-root.
func placeOf(id string) place {
	var p place
	for part := range strings.SplitSeq(id, "/") {
		switch {
		case part == "kubepods" || part == "kubepods.slice" || strings.HasSuffix(part, "-kubepods.slice"):
			p.kubepods = true
		case part == "kubelet.service" || part == "containerd.service" || part == "crio.service":
			p.system = true
		}
	}
	base := path.Base(id)
	p.containerID = containerIDOf(base)
	if p.kubepods && p.containerID == "" {
		p.podUID = podUIDOf(base)
	}
	return p
}

// idLength is that of the ids that containerd, CRI-O and Docker give.
const idLength = 64

// containerIDOf finds a container id in the last part of a path: it may follow
// a prefix (cri-containerd-, crio-, docker-) and precede .scope. The cgroup of
// the monitor of a container (crio-conmon-<id>.scope, libpod-conmon-<id>.scope) is
// not its cgroup.
func containerIDOf(base string) string {
	base = strings.TrimSuffix(base, ".scope")
	if len(base) < idLength || strings.HasPrefix(base, "crio-conmon-") || strings.HasPrefix(base, "libpod-conmon-") {
		return ""
	}
	prefix, id := base[:len(base)-idLength], base[len(base)-idLength:]
	if prefix != "" && !strings.HasSuffix(prefix, "-") && !strings.HasSuffix(prefix, ":") {
		return ""
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ""
		}
	}
	return id
}

// podUIDOf finds the pod's uid in the last part of a path.
func podUIDOf(base string) string {
	if slice, ok := strings.CutSuffix(base, ".slice"); ok {
		if _, uid, ok := strings.Cut(slice, "-pod"); ok && strings.Contains(slice, "kubepods") {
			return strings.ReplaceAll(uid, "_", "-")
		}
		return ""
	}
	uid, _ := strings.CutPrefix(base, "pod")
	if uid == base {
		return ""
	}
	return uid
}

// printable makes the name of a cgroup fit for a label: a name may hold any
// byte, and two names that differ in bytes which are not UTF-8 must not become
// one.
func printable(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for len(name) > 0 {
		r, n := utf8.DecodeRuneInString(name)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, name[0])
		} else {
			b.WriteString(name[:n])
		}
		name = name[n:]
	}
	return b.String()
}
