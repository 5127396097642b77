package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// kubeletRuntime is where the kubelet's cAdvisor looks for containerd. It asks
// there who its containers are, and cannot be told of another place.
const kubeletRuntime = shimDir + "/containerd.sock"

// linkRuntime leads the kubelet's cAdvisor to the cluster's containerd, unless
// there is one of others: then the kubelet shows containers without their names.
func linkRuntime(link, socket string) error {
	err := os.Symlink(socket, link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("leading the kubelet to containerd: %w", err)
	}
	return nil
}

// unlinkRuntime removes the link if it is ours.
func unlinkRuntime(link, socket string) error {
	if !linksTo(link, socket) {
		return nil
	}
	return os.Remove(link)
}

func linksTo(link, socket string) bool {
	to, err := os.Readlink(link)
	return err == nil && to == socket
}

// KubeletNamesContainers tells whether the kubelet's /metrics/cadvisor says
// which containers it shows.
func (c *Cluster) KubeletNamesContainers() bool { return linksTo(kubeletRuntime, c.o.socket()) }
