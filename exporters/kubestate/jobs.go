package kubestate

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strata-metrics/strata/internal/metric"
)

// jobs is the kind Job.
func jobs() kind {
	type J = *batchv1.Job
	return &Resource[J]{
		Group: "batch", Version: "v1", Plural: "jobs",
		Scheme: batchv1.AddToScheme,
		List:   func() runtime.Object { return &batchv1.JobList{} },
		Labels: []string{"namespace", "job_name"}, // job is the label of a target in Prometheus
		Key:    inNamespace[J],
		Families: []Family[J]{
			annotationsOf[J]("kube_job_annotations"),
			labelsOf[J]("kube_job_labels"),
			created[J]("kube_job_created", metric.Stable),
			owners[J]("kube_job_owner"),
			exists[J]("kube_job_info", "That the job is there."),
			optional("kube_job_spec_parallelism", "Pods that may run at a time.", metric.Stable,
				func(j J) *int32 { return j.Spec.Parallelism }),
			optional("kube_job_spec_completions", "Pods that are to succeed.", metric.Stable,
				func(j J) *int32 { return j.Spec.Completions }),
			optional("kube_job_spec_active_deadline_seconds", "Seconds after its start at which the job is ended.", metric.Stable,
				func(j J) *int64 { return j.Spec.ActiveDeadlineSeconds }),
			number("kube_job_status_active", "Pods that run or are about to.",
				func(j J) float64 { return float64(j.Status.Active) }),
			number("kube_job_status_succeeded", "Pods that succeeded.",
				func(j J) float64 { return float64(j.Status.Succeeded) }),
			{
				Name: "kube_job_status_failed", Help: "Pods that failed, and why: see the reasons of Kubernetes; for another, or for none yet, the reason is empty.",
				Type: metric.Gauge, Render: jobFailures,
			},
			alpha(number("kube_job_status_ready", "Pods that are ready.",
				func(j J) float64 {
					if j.Status.Ready == nil {
						return 0
					}
					return float64(*j.Status.Ready)
				})),
			jobCondition("kube_job_complete", "Whether the job is done.", batchv1.JobComplete),
			jobCondition("kube_job_failed", "Whether the job has failed.", batchv1.JobFailed),
			timeOf("kube_job_status_start_time", "Time at which the job began, in seconds since 1970.",
				func(j J) *metav1.Time { return j.Status.StartTime }),
			timeOf("kube_job_status_completion_time", "Time at which the job was done, in seconds since 1970.",
				func(j J) *metav1.Time { return j.Status.CompletionTime }),
			{
				Name: "kube_job_status_suspended", Help: "Whether the job is suspended, once it was.", Type: metric.Gauge, Stability: metric.Alpha,
				Render: func(j J, l *Lines) {
					for _, c := range j.Status.Conditions {
						if c.Type == batchv1.JobSuspended {
							l.Bool(c.Status == corev1.ConditionTrue)
						}
					}
				},
			},
		},
	}
}

func jobCondition(name, help string, which batchv1.JobConditionType) Family[*batchv1.Job] {
	return Family[*batchv1.Job]{
		Name: name, Help: help, Type: metric.Gauge, Labels: []string{"condition"},
		Render: func(j *batchv1.Job, l *Lines) {
			for _, c := range j.Status.Conditions {
				if c.Type == which {
					l.Condition(c.Status)
				}
			}
		},
	}
}

// jobFailures shows 0 without a reason as long as no pod failed. Then a
// condition says which of the known reasons it was; that is 1, not a number of
// pods. Only for another reason, or none, the number is shown.
func jobFailures(j *batchv1.Job, l *Lines) {
	if j.Status.Failed == 0 {
		l.Add(0)
		return
	}
	reason, known := []string{"reason"}, false
	reasons := []string{"BackoffLimitExceeded", "DeadlineExceeded", "Evicted"}
	for _, c := range j.Status.Conditions {
		if c.Type != batchv1.JobFailed {
			continue
		}
		known = known || slices.Contains(reasons, c.Reason)
		for _, r := range reasons {
			switch {
			case r == c.Reason:
				l.AddExtra(1, nil, reason, []string{r})
			case !l.sparse:
				l.AddExtra(0, nil, reason, []string{r})
			}
		}
	}
	if !known {
		l.AddExtra(float64(j.Status.Failed), nil, reason, []string{""})
	}
}
