//! The catalogue: every error that a caller may see, with its number, name and meaning on each protocol.

use tonic::Code as Grpc;

macro_rules! catalogue {
    ($($variant:ident = $number:literal, $name:literal, $grpc:ident, $http:literal, $retryable:literal, $text:literal;)+) => {
        /// An entry of the catalogue. Numbers and names are never reused or given another meaning.
        ///
        /// 1xxx: the caller can act on it. 2xxx: the platform failed. 3xxx: a task's own work failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $text] $variant,)+
        }

        impl Code {
            /// Every entry, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The catalogue number.
            pub const fn number(self) -> u32 {
                match self { $(Self::$variant => $number,)+ }
            }

            /// The catalogue name, for instance `TASK_NOT_FOUND`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The gRPC status code it travels under.
            pub const fn grpc(self) -> Grpc {
                match self { $(Self::$variant => Grpc::$grpc,)+ }
            }

            /// The HTTP status it travels under.
            pub const fn http(self) -> u16 {
                match self { $(Self::$variant => $http,)+ }
            }

            /// True when the same request may succeed later without being changed.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)+ }
            }

            /// What it means and what the caller does, one or two sentences.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

catalogue! {
    InvalidArgument = 1001, "INVALID_ARGUMENT", InvalidArgument, 400, false,
        "A field of the request is wrong; the violations name it. Correct the request.";
    UnknownField = 1002, "UNKNOWN_FIELD", InvalidArgument, 400, false,
        "The JSON body or the query names a field that the request does not have. Correct the request.";
    MalformedBody = 1003, "MALFORMED_BODY", InvalidArgument, 400, false,
        "The body cannot be decoded at all. Correct the request.";
    InvalidPageToken = 1004, "INVALID_PAGE_TOKEN", InvalidArgument, 400, false,
        "The page token was not made by this list with these filters. Start again without one.";
    TaskNotFound = 1005, "TASK_NOT_FOUND", NotFound, 404, false,
        "No task has this id, or its retention has passed.";
    ServiceNotFound = 1006, "SERVICE_NOT_FOUND", Unimplemented, 404, false,
        "No instance of this service is registered. Check the name, or start the service.";
    MethodNotFound = 1007, "METHOD_NOT_FOUND", Unimplemented, 404, false,
        "The service is there but has no such method.";
    PathNotFound = 1008, "PATH_NOT_FOUND", NotFound, 404, false,
        "No HTTP route has this path.";
    PayloadTooLarge = 1009, "PAYLOAD_TOO_LARGE", ResourceExhausted, 413, false,
        "The message is larger than the limit. Send less, or pass a reference to the data.";
    HttpMethodNotAllowed = 1010, "HTTP_METHOD_NOT_ALLOWED", Unimplemented, 405, false,
        "The path exists under another HTTP method.";
    UnsupportedMediaType = 1011, "UNSUPPORTED_MEDIA_TYPE", InvalidArgument, 415, false,
        "The content type is not one that this path takes.";
    IdempotencyConflict = 1012, "IDEMPOTENCY_CONFLICT", AlreadyExists, 409, false,
        "The idempotency key was used before for a different task. Use a new key.";
    TaskFinished = 1013, "TASK_FINISHED", FailedPrecondition, 409, false,
        "The task is final already, so that nothing can be done to it.";
    QueueFull = 1014, "QUEUE_FULL", ResourceExhausted, 429, true,
        "The queue holds as many tasks as it may. Wait as told and submit again.";
    InstanceNotFound = 1015, "INSTANCE_NOT_FOUND", NotFound, 404, false,
        "The instance is not registered, or its lease has ended. Register it again.";
    Unauthenticated = 1016, "UNAUTHENTICATED", Unauthenticated, 401, false,
        "The call carries no valid credentials. The metadata `reason` says what is wrong; send an API key or a token as `authorization: Bearer`.";
    PermissionDenied = 1017, "PERMISSION_DENIED", PermissionDenied, 403, false,
        "The caller may not do this. The message names the role that is needed; ask an admin for a key that has it.";
    Cancelled = 1018, "CANCELLED", Cancelled, 499, false,
        "The caller gave up.";
    DeadlineExceeded = 1019, "DEADLINE_EXCEEDED", DeadlineExceeded, 504, true,
        "The caller's deadline passed. Whether the call took effect is not known: read, or repeat with the same idempotency key.";
    FailedPrecondition = 1020, "FAILED_PRECONDITION", FailedPrecondition, 409, false,
        "The request is right but not in this state. Change the state first.";
    NotFound = 1021, "NOT_FOUND", NotFound, 404, false,
        "There is no such thing.";
    AlreadyExists = 1022, "ALREADY_EXISTS", AlreadyExists, 409, false,
        "It is there already.";
    Aborted = 1023, "ABORTED", Aborted, 409, true,
        "Another writer was first. Read again, then retry.";
    OutOfRange = 1024, "OUT_OF_RANGE", OutOfRange, 400, false,
        "A position lies outside of what exists.";
    WorkflowNotFound = 1025, "WORKFLOW_NOT_FOUND", NotFound, 404, false,
        "No workflow has this id, or its retention has passed.";
    ScheduleNotFound = 1026, "SCHEDULE_NOT_FOUND", NotFound, 404, false,
        "The namespace has no schedule of this name.";
    QueueClosed = 1027, "QUEUE_CLOSED", FailedPrecondition, 409, false,
        "The queue is being drained and takes no tasks. Resume it, or use another queue.";
    WorkflowFinished = 1028, "WORKFLOW_FINISHED", FailedPrecondition, 409, false,
        "The workflow is final already. Run it again with `rerun`.";
    RateLimited = 1040, "RATE_LIMITED", ResourceExhausted, 429, true,
        "The caller has used up its share for now. Wait as told and retry.";
    HeadersTooLarge = 1041, "HEADERS_TOO_LARGE", InvalidArgument, 431, false,
        "The request has more headers than the gateway takes. Send fewer.";
    TlsRequired = 1042, "TLS_REQUIRED", FailedPrecondition, 426, false,
        "The port speaks TLS and the call came without. Use `https`.";
    BodyTooSlow = 1043, "BODY_TOO_SLOW", Cancelled, 408, true,
        "The request's body came too slowly. Send it faster.";
    Internal = 2001, "INTERNAL", Internal, 500, false,
        "A fault of ours. Report it with the trace id.";
    Unavailable = 2002, "UNAVAILABLE", Unavailable, 503, true,
        "The service cannot answer now; nothing was done. Retry with backoff.";
    Overloaded = 2003, "OVERLOADED", ResourceExhausted, 503, true,
        "The service has as much work as it takes; nothing was done. Wait as told and retry.";
    ShuttingDown = 2004, "SHUTTING_DOWN", Unavailable, 503, true,
        "This instance is stopping; nothing was done. Retry: another one will answer.";
    NotOwner = 2005, "NOT_OWNER", Unavailable, 503, true,
        "This replica does not own the partition now; nothing was done. Retry with backoff.";
    StoreUnavailable = 2006, "STORE_UNAVAILABLE", Unavailable, 503, true,
        "The store does not take writes now. Retry with backoff and the same idempotency key.";
    CoordinationUnavailable = 2007, "COORDINATION_UNAVAILABLE", Unavailable, 503, true,
        "The coordination service (etcd) does not answer. Retry with backoff.";
    NoInstance = 2008, "NO_INSTANCE", Unavailable, 503, true,
        "The service is known but none of its instances can be reached; nothing was done. Retry with backoff.";
    UpstreamFailed = 2009, "UPSTREAM_FAILED", Unavailable, 502, true,
        "The service broke off its answer. Whether the call took effect is not known: read, or repeat with the same idempotency key.";
    OutcomeUnknown = 2010, "OUTCOME_UNKNOWN", Unknown, 500, false,
        "A write may or may not have happened. Read, or repeat with the same idempotency key.";
    Unimplemented = 2011, "UNIMPLEMENTED", Unimplemented, 501, false,
        "The method exists but this version does not do it.";
    DataLoss = 2012, "DATA_LOSS", DataLoss, 500, false,
        "Stored data cannot be read. Report it with the trace id.";
    ExitNonZero = 3001, "EXIT_NON_ZERO", Aborted, 422, true,
        "The program ended with an exit code other than 0, or by a signal.";
    RunTimeout = 3002, "RUN_TIMEOUT", DeadlineExceeded, 422, true,
        "The attempt ran longer than its run timeout and was stopped.";
    QueueTimeout = 3003, "QUEUE_TIMEOUT", DeadlineExceeded, 422, false,
        "No worker took the task within its queue timeout.";
    SpawnFailed = 3004, "SPAWN_FAILED", FailedPrecondition, 422, false,
        "The program could not be started: it does not exist, is not executable, or its folder is missing.";
    HandlerFailed = 3005, "HANDLER_FAILED", Aborted, 422, true,
        "The handler returned an error or panicked.";
    HandlerUnknown = 3006, "HANDLER_UNKNOWN", FailedPrecondition, 422, true,
        "The worker does not have the handler.";
    OutputInvalid = 3007, "OUTPUT_INVALID", FailedPrecondition, 422, false,
        "The output is not JSON, or larger than 1 MiB.";
    WorkerLost = 3008, "WORKER_LOST", Aborted, 422, true,
        "The workers that ran the task were lost too often.";
    TaskCancelled = 3009, "TASK_CANCELLED", Cancelled, 422, false,
        "A caller cancelled the task.";
    AttemptUnknown = 3010, "ATTEMPT_UNKNOWN", Aborted, 422, false,
        "The task may run at most once, and how its attempt ended is not known: it may have run in part, or whole.";
    ExpressionFailed = 3011, "EXPRESSION_FAILED", FailedPrecondition, 422, false,
        "An expression of a workflow could not be computed. The message names the step and the reason.";
    StepFailed = 3012, "STEP_FAILED", Aborted, 422, false,
        "A step of the workflow failed. The metadata names it.";
    WorkflowTimeout = 3013, "WORKFLOW_TIMEOUT", DeadlineExceeded, 422, false,
        "The workflow took longer than its timeout.";
}

impl Code {
    /// The entry with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The entry with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The entry that stands for an HTTP status from 400 on that says nothing more.
    pub const fn from_http(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::NotFound,
            409 => Self::Aborted,
            413 => Self::PayloadTooLarge,
            429 | 503 => Self::Unavailable,
            501 => Self::Unimplemented,
            504 => Self::DeadlineExceeded,
            400..=499 => Self::FailedPrecondition,
            _ => Self::Internal,
        }
    }

    /// The entry that stands for a status of a service that does not know the catalogue.
    pub const fn from_grpc(code: Grpc) -> Self {
        match code {
            Grpc::Ok | Grpc::Internal => Self::Internal,
            Grpc::Cancelled => Self::Cancelled,
            Grpc::Unknown => Self::OutcomeUnknown,
            Grpc::InvalidArgument => Self::InvalidArgument,
            Grpc::DeadlineExceeded => Self::DeadlineExceeded,
            Grpc::NotFound => Self::NotFound,
            Grpc::AlreadyExists => Self::AlreadyExists,
            Grpc::PermissionDenied => Self::PermissionDenied,
            Grpc::ResourceExhausted => Self::Overloaded,
            Grpc::FailedPrecondition => Self::FailedPrecondition,
            Grpc::Aborted => Self::Aborted,
            Grpc::OutOfRange => Self::OutOfRange,
            Grpc::Unimplemented => Self::Unimplemented,
            Grpc::Unavailable => Self::Unavailable,
            Grpc::DataLoss => Self::DataLoss,
            Grpc::Unauthenticated => Self::Unauthenticated,
        }
    }
}
