package node

import (
	"github.com/strata-metrics/strata/internal/collect"
	"github.com/strata-metrics/strata/internal/metric"
)

// nfsd4Operations are those of NFS 4.0, see RFC 7530, by their numbers. The
// rest of the line, of NFS 4.1 and 4.2, is not exposed.
const nfsd4Operations = "- - - Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku Lookup LookupRoot" +
	" Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH - - Read ReadDir ReadLink Remove Rename Renew RestoreFH SaveFH SecInfo" +
	" SetAttr SetClientID SetClientIDConfirm Verify Write RelLockOwner"

// newNFSd makes the collector of the NFS server.
func newNFSd(o *Options) collect.Collector {
	c := &rpcStats{path: o.procPath("net", "rpc", "nfsd"), shapes: map[string]rpcShape{
		"rc": {least: 3}, "fh": {least: 5}, "io": {least: 2}, "th": {least: 2}, "ra": {least: 12}, "net": {least: 4}, "rpc": {least: 5},
		"proc2":          {least: 19, counted: true},
		"proc3":          {least: 23, counted: true},
		"proc4ops":       {least: 40, counted: true},
		"wdeleg_getattr": {least: 1},
	}}
	requests := metric.NewCounter("node_nfsd_requests_total", "Requests to the NFS server by method and protocol.", "proto", "method")
	packets := metric.NewCounter("node_nfsd_packets_total", "Network packets of the NFS server by protocol.", "proto")
	rpcErrors := metric.NewCounter("node_nfsd_rpc_errors_total", "Number of wrong RPCs by the kind of error.", "error")
	c.families = []*metric.Family{requests, packets, rpcErrors}
	c.add("rc", 0, metric.NewCounter("node_nfsd_reply_cache_hits_total",
		"Requests answered from the reply cache, since the client lost the answer."))
	c.add("rc", 1, metric.NewCounter("node_nfsd_reply_cache_misses_total", "Requests whose answer was put into the reply cache."))
	c.add("rc", 2, metric.NewCounter("node_nfsd_reply_cache_nocache_total", "Requests whose answer needs no reply cache."))
	c.add("fh", 0, metric.NewCounter("node_nfsd_file_handles_stale_total", "Number of stale file handles."))
	c.add("io", 0, metric.NewCounter("node_nfsd_disk_bytes_read_total", "Bytes read by the NFS server."))
	c.add("io", 1, metric.NewCounter("node_nfsd_disk_bytes_written_total", "Bytes written by the NFS server."))
	c.add("th", 0, metric.NewGauge("node_nfsd_server_threads", "Number of kernel threads of the NFS server."))
	c.add("ra", 0, metric.NewGauge("node_nfsd_read_ahead_cache_size_blocks", "Size of the read ahead cache in blocks."))
	c.add("ra", 11, metric.NewCounter("node_nfsd_read_ahead_cache_not_found_total", "Misses of the read ahead cache."))
	c.addLabeled("net", 1, packets, "udp")
	c.addLabeled("net", 2, packets, "tcp")
	c.add("net", 3, metric.NewCounter("node_nfsd_connections_total", "TCP connections to the NFS server."))
	c.addLabeled("rpc", 2, rpcErrors, "fmt")
	c.addLabeled("rpc", 3, rpcErrors, "auth")
	c.addLabeled("rpc", 4, rpcErrors, "cInt")
	c.add("rpc", 0, metric.NewCounter("node_nfsd_server_rpcs_total", "Number of RPCs to the NFS server."))
	c.addMethods("proc2", "2", "-"+nfs2Methods, requests)
	c.addMethods("proc3", "3", "-"+nfs3Methods, requests)
	c.addMethods("proc4ops", "4", nfsd4Operations, requests)
	c.addLabeled("wdeleg_getattr", 0, requests, "4", "WdelegGetattr")
	return c
}
