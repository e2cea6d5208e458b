from chalice import BadRequestError, Chalice

app = Chalice(app_name="orders")


@app.route("/orders/{number}", methods=["GET"])
def read(number):
    query = app.current_request.query_params or {}
    if number == "0":
        raise BadRequestError("no such order")
    return {"number": number, "details": query.get("details")}


@app.on_sqs_message(queue="orders")
def on_message(event):
    return [record.body for record in event]


@app.on_s3_event(bucket="orders")
def on_object(event):
    return [event.bucket, event.key]
