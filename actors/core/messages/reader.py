"""To Reader: what a server that does not lead reads itself."""

from .cron_ticker import GetCron, ListCrons
from .persistence import (
    GetBatch,
    GetDelivery,
    GetFile,
    GetTask,
    GetTenants,
    ListBatches,
    ListDeliveries,
    ListFiles,
    ListJobs,
    ListTasks,
    ReadAudit,
    Scanned,
)

Read = (
    GetTask
    | GetTenants
    | ListTasks
    | GetBatch
    | ListBatches
    | ListJobs
    | GetFile
    | ListFiles
    | GetDelivery
    | ListDeliveries
    | ReadAudit
    | GetCron
    | ListCrons
)
ToReader = Read | Scanned
