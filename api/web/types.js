// What the API answers with, for the type checker alone: the page loads nothing from here. /openapi.json has it whole.

/**
 * @typedef {object} JobError
 * @property {string} kind
 * @property {string} message
 * @property {string | null} mend
 */

/**
 * @typedef {object} Progress
 * @property {number} chunks_done
 * @property {number} chunks_total
 * @property {number} audio_seconds_done
 * @property {number} audio_seconds_total
 */

/**
 * @typedef {object} Job
 * @property {string} job_id
 * @property {"pending" | "queued" | "processing" | "completed" | "failed" | "cancelled"} status
 * @property {string | null} stage
 * @property {string} priority
 * @property {string} filename
 * @property {string} language
 * @property {string} model
 * @property {number} attempt
 * @property {JobError | null} error
 * @property {number | null} duration_seconds
 * @property {string} created_at
 * @property {string | null} completed_at
 * @property {number | null} words
 * @property {string[]} warnings
 * @property {string[]} failed_checks
 * @property {Progress} [progress]
 * @property {number | null} [queue_position]
 */

/**
 * @typedef {object} Word
 * @property {number} start
 * @property {number} end
 * @property {string} text
 * @property {number} probability
 */

/**
 * @typedef {object} Segment
 * @property {number} index
 * @property {number} start
 * @property {number} end
 * @property {string} text
 * @property {Word[]} words
 * @property {string | null} speaker
 * @property {string | null} language
 * @property {number | null} confidence
 * @property {string[]} flags
 */

/**
 * @typedef {object} Transcript
 * @property {string} language
 * @property {string} model
 * @property {number} duration_seconds
 * @property {Segment[]} segments
 * @property {{start: number, end: number, reason: string}[]} gaps
 * @property {{name: string, message: string}[]} warnings
 * @property {{name: string, passed: boolean, description: string}[]} checks
 */

export {};
