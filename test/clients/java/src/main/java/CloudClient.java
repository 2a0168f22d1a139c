import com.google.api.gax.core.NoCredentialsProvider;
import com.google.api.gax.httpjson.ApiMethodDescriptor;
import com.google.api.gax.httpjson.HttpJsonCallOptions;
import com.google.api.gax.httpjson.HttpJsonChannel;
import com.google.api.gax.httpjson.HttpJsonClientCall;
import com.google.api.gax.httpjson.HttpJsonClientInterceptor;
import com.google.api.gax.rpc.AbortedException;
import com.google.api.gax.rpc.AlreadyExistsException;
import com.google.api.gax.rpc.NotFoundException;
import com.google.cloud.location.GetLocationRequest;
import com.google.cloud.location.ListLocationsRequest;
import com.google.cloud.tasks.v2.*;
import com.google.iam.v1.Binding;
import com.google.iam.v1.GetIamPolicyRequest;
import com.google.iam.v1.Policy;
import com.google.iam.v1.SetIamPolicyRequest;
import com.google.iam.v1.TestIamPermissionsRequest;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.MethodDescriptor;
import com.google.protobuf.Duration;
import com.google.protobuf.FieldMask;
import com.google.protobuf.Timestamp;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ManagedChannelBuilder;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;

/** The generated client of google-cloud-tasks, over either of its transports, with every method that its v2 has. */
final class CloudClient {
  private static final String PARENT = "projects/demo/locations/us-central1";

  private final CloudTasksClient client;
  private final String name;
  private final String queue;
  private final String target;
  private final Class<? extends Exception> duplicate;

  private CloudClient(CloudTasksClient client, String name, String target) {
    this.client = client;
    this.name = "java-" + name;
    this.queue = PARENT + "/queues/java-" + name;
    this.target = target;
    // Over HTTP the client derives its exception from the status alone, and 409 is Aborted to it.
    this.duplicate = name.equals("grpc") ? AlreadyExistsException.class : AbortedException.class;
  }

  static void check(String transport, String address, String target) throws Exception {
    Set<String> called = new ConcurrentSkipListSet<>();
    try (CloudTasksClient client = CloudTasksClient.create(transport.equals("grpc") ? overGrpc(address, called) : overHttp(address, called))) {
      CloudClient check = new CloudClient(client, transport, target);
      check.queues();
      check.tasks();
      check.policiesAndLocations();
      check.end();
    }
    Set<String> leftOut = new TreeSet<>(CloudTasksProto.getDescriptor().findServiceByName("CloudTasks").getMethods().stream().map(MethodDescriptor::getName).collect(Collectors.toSet()));
    leftOut.removeAll(called);
    Main.expect(leftOut.isEmpty(), leftOut);
    Main.step("java-" + transport + ": every method was called");
  }

  private static CloudTasksSettings overGrpc(String address, Set<String> called) throws Exception {
    ClientInterceptor recorder = new ClientInterceptor() {
      @Override
      public <Q, A> ClientCall<Q, A> interceptCall(io.grpc.MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        called.add(method.getBareMethodName());
        return next.newCall(method, options);
      }
    };
    return CloudTasksSettings.newBuilder()
        .setCredentialsProvider(NoCredentialsProvider.create())
        .setTransportChannelProvider(CloudTasksSettings.defaultGrpcTransportProviderBuilder()
            .setEndpoint(address)
            .setChannelConfigurator(ManagedChannelBuilder::usePlaintext)
            .setInterceptorProvider(() -> List.of(recorder))
            .build())
        .build();
  }

  private static CloudTasksSettings overHttp(String address, Set<String> called) throws Exception {
    HttpJsonClientInterceptor recorder = new HttpJsonClientInterceptor() {
      @Override
      public <Q, A> HttpJsonClientCall<Q, A> interceptCall(ApiMethodDescriptor<Q, A> method, HttpJsonCallOptions options, HttpJsonChannel next) {
        called.add(method.getFullMethodName().substring(method.getFullMethodName().lastIndexOf('/') + 1));
        return next.newCall(method, options);
      }
    };
    return CloudTasksSettings.newHttpJsonBuilder()
        .setCredentialsProvider(NoCredentialsProvider.create())
        .setTransportChannelProvider(CloudTasksSettings.defaultHttpJsonTransportProviderBuilder()
            .setEndpoint("http://" + address)
            .setInterceptorProvider(() -> List.of(recorder))
            .build())
        .build();
  }

  private void queues() {
    Queue wanted = Queue.newBuilder().setName(queue).setRetryConfig(RetryConfig.newBuilder().setMinBackoff(Duration.newBuilder().setNanos(500_000_000))).build();
    Queue created = client.createQueue(PARENT, wanted);
    Main.expect(created.getState() == Queue.State.RUNNING, created);
    refused(duplicate, () -> client.createQueue(PARENT, wanted));
    Main.expect(client.getQueue(queue).getRetryConfig().getMinBackoff().getNanos() == 500_000_000, queue);
    long listed = StreamSupport.stream(client.listQueues(PARENT).iterateAll().spliterator(), false).filter(one -> one.getName().equals(queue)).count();
    Main.expect(listed == 1, listed);
    Queue updated = client.updateQueue(
        Queue.newBuilder().setName(queue).setRetryConfig(RetryConfig.newBuilder().setMaxAttempts(7)).build(),
        FieldMask.newBuilder().addPaths("retry_config.max_attempts").build());
    Main.expect(updated.getRetryConfig().getMaxAttempts() == 7 && updated.getRetryConfig().getMinBackoff().getNanos() == 500_000_000, updated);
    Main.expect(client.pauseQueue(queue).getState() == Queue.State.PAUSED, queue);
    Main.step(name + ": queues");
  }

  private void tasks() {
    String run = queue + "/tasks/run";
    String later = queue + "/tasks/later";
    Task task = Task.newBuilder().setName(run).setHttpRequest(HttpRequest.newBuilder().setUrl(target + "/java/" + name).setBody(ByteString.copyFromUtf8("hello")).putHeaders("X-Mine", "yes")).build();
    Task stored = client.createTask(queue, task);
    Main.expect(stored.getHttpRequest().getHttpMethod() == HttpMethod.POST && stored.getHttpRequest().getBody().isEmpty(), stored);
    refused(duplicate, () -> client.createTask(queue, task));
    Timestamp inAnHour = Timestamp.newBuilder().setSeconds(Instant.now().getEpochSecond() + 3600).build();
    client.createTask(queue, Task.newBuilder().setName(later).setScheduleTime(inAnHour).setHttpRequest(HttpRequest.newBuilder().setUrl(target)).build());
    Set<String> listed = StreamSupport.stream(client.listTasks(queue).iterateAll().spliterator(), false).map(Task::getName).collect(Collectors.toSet());
    Main.expect(listed.equals(Set.of(run, later)), listed);
    Task full = client.getTask(GetTaskRequest.newBuilder().setName(run).setResponseView(Task.View.FULL).build());
    Main.expect(full.getHttpRequest().getBody().toStringUtf8().equals("hello"), full);
    client.deleteTask(later);
    refused(NotFoundException.class, () -> client.getTask(later));
    Main.expect(client.runTask(run).getDispatchCount() == 1, run);
    Main.step(name + ": tasks");
  }

  private void policiesAndLocations() {
    Policy policy = Policy.newBuilder().addBindings(Binding.newBuilder().setRole("roles/viewer").addMembers("user:ada@example.com")).build();
    client.setIamPolicy(SetIamPolicyRequest.newBuilder().setResource(queue).setPolicy(policy).build());
    Main.expect(client.getIamPolicy(GetIamPolicyRequest.newBuilder().setResource(queue).build()).getBindings(0).getRole().equals("roles/viewer"), queue);
    Main.expect(client.testIamPermissions(TestIamPermissionsRequest.newBuilder().setResource(queue).addPermissions("cloudtasks.tasks.create").build()).getPermissionsCount() == 1, queue);
    Main.expect(client.listLocations(ListLocationsRequest.newBuilder().setName("projects/demo").build()).getPage().getValues().iterator().hasNext(), PARENT);
    Main.expect(client.getLocation(GetLocationRequest.newBuilder().setName(PARENT).build()).getLocationId().equals("us-central1"), PARENT);
    Main.step(name + ": policies and locations");
  }

  private void end() {
    Main.expect(client.resumeQueue(queue).getState() == Queue.State.RUNNING, queue);
    Main.expect(client.purgeQueue(queue).hasPurgeTime(), queue);
    client.deleteQueue(queue);
    refused(NotFoundException.class, () -> client.getQueue(queue));
    Main.step(name + ": purge and delete");
  }

  private static void refused(Class<? extends Exception> expected, Callable<?> call) {
    try {
      call.call();
    } catch (Exception error) {
      if (expected.isInstance(error)) return;
      throw new AssertionError("not refused with " + expected.getSimpleName(), error);
    }
    throw new AssertionError("not refused with " + expected.getSimpleName());
  }
}
