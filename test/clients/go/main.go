// Google's client for Go against the emulator: go run . HOST:PORT TARGET. Prints the steps that went well.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	locationpb "google.golang.org/genproto/googleapis/cloud/location"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const parent = "projects/demo/locations/us-central1"

func main() {
	address, target := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	called := map[string]bool{}
	record := func(ctx context.Context, method string, request, answer any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		called[path.Base(method)] = true
		return invoke(ctx, method, request, answer, connection, options...)
	}
	overGrpc, err := cloudtasks.NewClient(ctx,
		option.WithEndpoint(address),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(record)))
	must(err)
	defer overGrpc.Close()
	check(ctx, "grpc", overGrpc, target)
	methods := cloudtaskspb.File_google_cloud_tasks_v2_cloudtasks_proto.Services().ByName("CloudTasks").Methods()
	for i := range methods.Len() {
		expect(called[string(methods.Get(i).Name())], methods.Get(i).Name()+" was not called")
	}
	fmt.Println("grpc: every method was called")

	overRest, err := cloudtasks.NewRESTClient(ctx, option.WithEndpoint("http://"+address), option.WithoutAuthentication())
	must(err)
	defer overRest.Close()
	check(ctx, "rest", overRest, target)
}

func check(ctx context.Context, name string, client *cloudtasks.Client, target string) {
	queue := parent + "/queues/go-" + name
	create := &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: queue, RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(500 * time.Millisecond)}}}
	created, err := client.CreateQueue(ctx, create)
	must(err)
	expect(created.State == cloudtaskspb.Queue_RUNNING, created)
	_, err = client.CreateQueue(ctx, create)
	refused(err, "AlreadyExists", 409)
	queues, listed := client.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: parent}), 0
	for {
		one, err := queues.Next()
		if err == iterator.Done {
			break
		}
		must(err)
		if one.Name == queue {
			listed++
		}
	}
	expect(listed == 1, listed)
	updated, err := client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{
		Queue:      &cloudtaskspb.Queue{Name: queue, RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 7}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.max_attempts"}},
	})
	must(err)
	expect(updated.RetryConfig.MaxAttempts == 7 && updated.RetryConfig.MinBackoff.AsDuration() == 500*time.Millisecond, updated)
	paused, err := client.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue})
	must(err)
	expect(paused.State == cloudtaskspb.Queue_PAUSED, paused)
	fmt.Println(name + ": queues")

	run := queue + "/tasks/run"
	request := func(task string, at *timestamppb.Timestamp) *cloudtaskspb.CreateTaskRequest {
		return &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
			Name:         task,
			ScheduleTime: at,
			MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: target + "/go/" + name, Body: []byte("hello")}},
		}}
	}
	stored, err := client.CreateTask(ctx, request(run, nil))
	must(err)
	expect(stored.GetHttpRequest().HttpMethod == cloudtaskspb.HttpMethod_POST && len(stored.GetHttpRequest().Body) == 0, stored)
	_, err = client.CreateTask(ctx, request(run, nil))
	refused(err, "AlreadyExists", 409)
	later := queue + "/tasks/later"
	_, err = client.CreateTask(ctx, request(later, timestamppb.New(time.Now().Add(time.Hour))))
	must(err)
	full, err := client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: run, ResponseView: cloudtaskspb.Task_FULL})
	must(err)
	expect(string(full.GetHttpRequest().Body) == "hello", full)
	must(client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: later}))
	_, err = client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: later})
	refused(err, "NotFound", 404)
	tasks, waiting := client.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue}), 0
	for {
		_, err := tasks.Next()
		if err == iterator.Done {
			break
		}
		must(err)
		waiting++
	}
	expect(waiting == 1, waiting)
	dispatched, err := client.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: run})
	must(err)
	expect(dispatched.DispatchCount == 1, dispatched)
	fmt.Println(name + ": tasks")

	targetOfQueue(ctx, client, queue)
	fmt.Println(name + ": HTTP target of a queue, and retry settings of a task")
	batches(ctx, client, queue, target)
	fmt.Println(name + ": batches and their operations")
	policiesAndLocations(ctx, client, queue)
	fmt.Println(name + ": policies, locations, customer-managed keys")

	resumed, err := client.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: queue})
	must(err)
	expect(resumed.State == cloudtaskspb.Queue_RUNNING, resumed)
	purged, err := client.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: queue})
	must(err)
	expect(purged.PurgeTime != nil, purged)
	must(client.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue}))
	_, err = client.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: queue})
	refused(err, "NotFound", 404)
	fmt.Println(name + ": purge and delete")
}

func targetOfQueue(ctx context.Context, client *cloudtasks.Client, queue string) {
	host, scheme := "other.example", cloudtaskspb.UriOverride_HTTP
	mask := &fieldmaskpb.FieldMask{Paths: []string{"http_target"}}
	target := &cloudtaskspb.HttpTarget{
		UriOverride: &cloudtaskspb.UriOverride{Scheme: &scheme, Host: &host, PathOverride: &cloudtaskspb.PathOverride{Path: "/hook"}},
		HttpMethod:  cloudtaskspb.HttpMethod_PUT,
	}
	updated, err := client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{Queue: &cloudtaskspb.Queue{Name: queue, HttpTarget: target}, UpdateMask: mask})
	must(err)
	expect(updated.HttpTarget.UriOverride.GetHost() == host, updated)
	task := &cloudtaskspb.Task{
		MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{}},
		RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 3},
	}
	stored, err := client.CreateTask(ctx, &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: task})
	must(err)
	expect(stored.GetHttpRequest().Url == "http://other.example/hook" && stored.RetryConfig.MaxAttempts == 3, stored)
	must(client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: stored.Name}))
	updated, err = client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{Queue: &cloudtaskspb.Queue{Name: queue}, UpdateMask: mask})
	must(err)
	expect(updated.HttpTarget == nil, updated)
}

func batches(ctx context.Context, client *cloudtasks.Client, queue, target string) {
	request := func(name string) *cloudtaskspb.CreateTaskRequest {
		return &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
			Name:        name,
			MessageType: &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: target}},
		}}
	}
	create := &cloudtaskspb.BatchCreateTasksRequest{Parent: queue, Requests: []*cloudtaskspb.CreateTaskRequest{request(queue + "/tasks/a"), request("")}}
	creation, err := client.BatchCreateTasks(ctx, create)
	must(err)
	created, err := creation.Wait(ctx)
	must(err)
	expect(len(created.Tasks) == 2 && created.Tasks[0].Name == queue+"/tasks/a", created)
	metadata, err := creation.Metadata()
	must(err)
	expect(metadata.State == cloudtaskspb.BatchCreateTasksMetadata_SUCCEEDED, metadata)
	operation, err := client.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: creation.Name()})
	must(err)
	expect(operation.Done, operation)
	_, err = client.BatchCreateTasks(ctx, create)
	refused(err, "AlreadyExists", 409)
	deletion, err := client.BatchDeleteTasks(ctx, &cloudtaskspb.BatchDeleteTasksRequest{Parent: queue, Names: []string{created.Tasks[0].Name, created.Tasks[1].Name}})
	must(err)
	must(deletion.Wait(ctx))
	_, err = client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: queue + "/tasks/a"})
	refused(err, "NotFound", 404)
}

func policiesAndLocations(ctx context.Context, client *cloudtasks.Client, queue string) {
	policy := &iampb.Policy{Bindings: []*iampb.Binding{{Role: "roles/viewer", Members: []string{"user:ada@example.com"}}}}
	_, err := client.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: queue, Policy: policy})
	must(err)
	kept, err := client.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: queue})
	must(err)
	expect(kept.Bindings[0].Role == "roles/viewer", kept)
	allowed, err := client.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: queue, Permissions: []string{"cloudtasks.tasks.create"}})
	must(err)
	expect(len(allowed.Permissions) == 1, allowed)

	location, err := client.GetLocation(ctx, &locationpb.GetLocationRequest{Name: parent})
	must(err)
	expect(location.LocationId == "us-central1", location)
	_, err = client.ListLocations(ctx, &locationpb.ListLocationsRequest{Name: "projects/demo"}).Next()
	must(err)

	name, key := parent+"/cmekConfig", parent+"/keyRings/r/cryptoKeys/k"
	mask := &fieldmaskpb.FieldMask{Paths: []string{"kms_key"}}
	_, err = client.UpdateCmekConfig(ctx, &cloudtaskspb.UpdateCmekConfigRequest{CmekConfig: &cloudtaskspb.CmekConfig{Name: name, KmsKey: key}, UpdateMask: mask})
	must(err)
	config, err := client.GetCmekConfig(ctx, &cloudtaskspb.GetCmekConfigRequest{Name: name})
	must(err)
	expect(config.KmsKey == key, config)
	_, err = client.UpdateCmekConfig(ctx, &cloudtaskspb.UpdateCmekConfigRequest{CmekConfig: &cloudtaskspb.CmekConfig{Name: name}, UpdateMask: mask})
	must(err)
}

// refused wants an error with the code of gRPC or, over REST, the status of HTTP.
func refused(err error, code string, status int) {
	var refusal *apierror.APIError
	if !errors.As(err, &refusal) || (refusal.GRPCStatus().Code().String() != code && refusal.HTTPCode() != status) {
		panic(fmt.Sprintf("not refused with %s: %v", code, err))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(holds bool, got any) {
	if !holds {
		panic(fmt.Sprintf("unexpected: %v", got))
	}
}
