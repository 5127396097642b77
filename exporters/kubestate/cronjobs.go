package kubestate

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // zones of schedules: a container may have no files of them

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// cronJobs is the kind CronJob.
func cronJobs() kind {
	type C = *batchv1.CronJob
	return &Resource[C]{
		Group: "batch", Version: "v1", Plural: "cronjobs",
		Scheme: batchv1.AddToScheme,
		List:   func() runtime.Object { return &batchv1.CronJobList{} },
		Labels: []string{"namespace", "cronjob"},
		Key:    inNamespace[C],
		Families: []Family[C]{
			annotationsOf[C]("kube_cronjob_annotations"),
			labelsOf[C]("kube_cronjob_labels"),
			created[C]("kube_cronjob_created", metric.Stable),
			info("kube_cronjob_info", "When the job is to run; without a time zone it is that of Kubernetes' controller, called local.",
				[]string{"schedule", "concurrency_policy", "timezone"},
				func(c C) []string {
					zone := "local"
					if c.Spec.TimeZone != nil {
						zone = *c.Spec.TimeZone
					}
					return []string{c.Spec.Schedule, string(c.Spec.ConcurrencyPolicy), zone}
				}),
			stable(resourceVersion[C]("kube_cronjob_metadata_resource_version")),
			{
				Name: "kube_cronjob_spec_suspend", Help: "Whether no new jobs are begun.", Type: metric.Gauge,
				Render: func(c C, l *Lines) { l.Bool(isSuspended(c)) },
			},
			optional("kube_cronjob_spec_starting_deadline_seconds", "Seconds by which a job may begin late.", metric.Stable,
				func(c C) *int64 { return c.Spec.StartingDeadlineSeconds }),
			optional("kube_cronjob_spec_successful_job_history_limit", "Jobs that are kept of those that are done.", metric.Alpha,
				func(c C) *int32 { return c.Spec.SuccessfulJobsHistoryLimit }),
			optional("kube_cronjob_spec_failed_job_history_limit", "Jobs that are kept of those that failed.", metric.Alpha,
				func(c C) *int32 { return c.Spec.FailedJobsHistoryLimit }),
			number("kube_cronjob_status_active", "Jobs that run.",
				func(c C) float64 { return float64(len(c.Status.Active)) }),
			timeOf("kube_cronjob_status_last_schedule_time", "Time for which a job was last begun, in seconds since 1970.",
				func(c C) *metav1.Time { return c.Status.LastScheduleTime }),
			timeOf("kube_cronjob_status_last_successful_time", "Time at which a job was last done, in seconds since 1970.",
				func(c C) *metav1.Time { return c.Status.LastSuccessfulTime }),
			{
				Name: "kube_cronjob_next_schedule_time", Type: metric.Gauge,
				Help: "Time of the schedule that follows the last one, in seconds since 1970: in the past when the job is late; that of year 1 when it never comes.",
				Render: func(c C, l *Lines) {
					if next, ok := nextRun(c); ok {
						l.Time(metav1.Time{Time: next})
					}
				},
			},
			{
				Name: "kube_cronjob_schedule_invalid", Help: "1 when the schedule cannot be read, in its time zone.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(c C, l *Lines) {
					if _, err := schedule(c); err != nil {
						l.Add(1)
					}
				},
			},
		},
	}
}

func isSuspended(c *batchv1.CronJob) bool { return c.Spec.Suspend != nil && *c.Spec.Suspend }

// nextRun is the time after the last one, or after the CronJob was made. A
// suspended one has none.
func nextRun(c *batchv1.CronJob) (next time.Time, ok bool) {
	after := c.Status.LastScheduleTime
	if after.IsZero() {
		after = &c.CreationTimestamp
	}
	if isSuspended(c) || after.IsZero() {
		return time.Time{}, false
	}
	s, err := schedule(c)
	if err != nil {
		return time.Time{}, false
	}
	return s.Next(after.Time), true
}

// schedule reads a schedule as Kubernetes' controller does.
func schedule(c *batchv1.CronJob) (cron.Schedule, error) {
	spec := c.Spec.Schedule
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		if !strings.Contains(spec, " ") {
			return nil, errors.New("a time zone and nothing else") // the parser would panic
		}
	}
	if c.Spec.TimeZone != nil {
		spec = fmt.Sprintf("CRON_TZ=%s %s", *c.Spec.TimeZone, spec)
	}
	return cron.ParseStandard(spec)
}
